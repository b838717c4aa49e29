package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

const digestPolicy = `package bailiff.exec

# METADATA
# title: A program is run that is known to be bad
# custom: {id: e2e-bad, undecided: hold, deadline: deny}
deny contains sprintf("%s is %s", [input.file.path, input.file.sha256]) if {
	startswith(input.file.path, data.e2e.held)
	input.file.sha256 in data.e2e.bad
}

# METADATA
# title: A program is run that nobody has listed
# custom: {id: e2e-unlisted, undecided: hold, deadline: deny}
deny contains "not listed" if {
	startswith(input.file.path, data.e2e.listed)
	not input.file.sha256 in data.e2e.good
}
`

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// poke changes the last byte of a file through a mapping, which on a tmpfs
// leaves no trace in its times.
func (w *world) poke(name string, to byte) {
	w.t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	w.must(err)
	defer f.Close()
	st, err := f.Stat()
	w.must(err)
	m, err := unix.Mmap(int(f.Fd()), 0, int(st.Size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	w.must(err)
	if last := &m[len(m)-1]; *last != to {
		*last = to
	}
	w.must(unix.Munmap(m))
}

// TestGateDigest: a program is known by its content: under whatever name, and
// not any more when one byte is another, however that came about.
func TestGateDigest(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		if backend == lsm {
			t.Skip("there the kernel computes digests: see TestDigest")
		}
		w, held := newGate(t, backend, "deny")
		in := func(elem ...string) string { return filepath.Join(append([]string{held}, elem...)...) }
		marker := in("ran")
		content := func(end string) []byte { return append(harness.MarkerProgram(marker), end...) }
		bad, listed := content("bad1"), content("good")
		w.must(os.Mkdir(in("listed"), 0o755))
		w.policy(map[string]any{
			"held": held + "/", "listed": in("listed") + "/",
			"bad": []string{sumOf(bad)}, "good": []string{sumOf(listed)},
		}, map[string]string{"exec": digestPolicy})
		w.write(in("evil"), bad, 0o755)
		w.write(in("innocent"), bad, 0o755)
		w.write(in("edited"), content("bad2"), 0o755)
		w.write(in("listed", "a"), listed, 0o755)
		w.start(event.ModeEnforce, "--gate-mount", held)

		runs := func(name string) {
			t.Helper()
			o, events := w.in(t).do(w.actor(), []string{"exec", name})
			if o.Exit != harness.MarkerExit || !ran(marker) {
				t.Fatalf("%s: got %v", name, o)
			}
			b, err := os.ReadFile(name)
			w.must(err)
			for _, e := range events {
				if e.Hook == event.HookExec && e.Decision.Source == event.SourceGate && e.File.SHA256 != sumOf(b) {
					t.Errorf("%s: the record says %s", name, show(e))
				}
			}
			w.must(os.Remove(marker))
		}
		refused := func(name, rule string) *event.Event {
			t.Helper()
			o, _ := w.in(t).do(w.actor(), []string{"exec", name})
			if o.Last() != syscall.EPERM || ran(marker) {
				t.Fatalf("%s: got %v, ran: %v", name, o, ran(marker))
			}
			return told(t, w, o, rule)
		}
		for _, name := range []string{"evil", "innocent"} {
			e := refused(in(name), "e2e-bad")
			if e.File.SHA256 != sumOf(bad) || e.Decision.Message == "" || e.Decision.Source != event.SourceGate {
				t.Errorf("got %s", show(e))
			}
		}
		runs(in("edited"))
		runs(in("edited"))
		// Changed between verdict and use, there and back again.
		w.poke(in("edited"), '1')
		refused(in("edited"), "e2e-bad")
		w.poke(in("edited"), '2')
		runs(in("edited"))
		// Replaced by what is known, as packages and attackers do.
		w.write(in("edited"), bad, 0o755)
		refused(in("edited"), "e2e-bad")
		w.write(in("edited"), content("bad2"), 0o755)
		runs(in("edited"))
		// A list of what may run.
		runs(in("listed", "a"))
		w.poke(in("listed", "a"), 'D')
		refused(in("listed", "a"), "e2e-unlisted")
		// What is open for writing has no digest: the rule's deadline decides, and
		// the breaker stays closed however often that is tried.
		f, err := os.OpenFile(in("edited"), os.O_WRONLY, 0)
		w.must(err)
		for range 8 {
			e := refused(in("edited"), "e2e-bad")
			if !e.Decision.Undecided || e.Decision.Source != event.SourceDefault {
				t.Errorf("got %s", show(e))
			}
		}
		w.must(f.Close())
		runs(in("edited"))
		w.stop()
	})
}

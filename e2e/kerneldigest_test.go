package e2e

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/guest"
	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

const kernelDigestPolicy = `package bailiff.exec

# METADATA
# title: A program is run that is known to be bad
# custom: {id: e2e-bad, undecided: deny}
deny contains sprintf("%s is %s", [input.file.path, input.file.sha256]) if {
	input.process.uid == 0
	some dir in data.e2e.dirs
	startswith(input.file.path, dir)
	input.file.sha256 in data.e2e.bad
}

# METADATA
# title: A program is run that nobody has listed
# custom: {id: e2e-unlisted, undecided: deny}
deny contains "not listed" if {
	some dir in data.e2e.listed
	startswith(input.file.path, dir)
	not input.file.sha256 in data.e2e.good
}

# METADATA
# custom: {id: e2e-one}
alert contains "exactly this" if {
	input.file.name == "one"
	input.file.sha256 == data.e2e.one
}

# METADATA
# custom: {id: e2e-args}
deny contains "this one, so called" if {
	input.file.name == "called"
	input.file.sha256 in data.e2e.called
	"--evil" in input.args
}

# METADATA
# custom: {id: e2e-loose}
deny contains "bad, if anybody knows" if {
	input.file.name == "loose"
	input.file.sha256 in data.e2e.bad
}

# METADATA
# custom: {id: e2e-memory, undecided: deny}
deny contains "in memory, not listed" if {
	"memory_backed" in input.file.traits
	not input.file.sha256 in data.e2e.good
}
`

// digestWorld is where programs are tried that are known by their content.
type digestWorld struct {
	*world
	dir    string
	marker string
}

func (w *digestWorld) in(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

func (w *digestWorld) content(end string) []byte {
	return append(harness.MarkerProgram(w.marker), end...)
}

func (w *digestWorld) runs(name string, args ...string) []*event.Event {
	w.t.Helper()
	o, events := w.do(w.actor(), append([]string{"exec", name}, args...))
	if o.Exit != harness.MarkerExit || !ran(w.marker) {
		w.t.Fatalf("%s: got %v\n%s", name, o, showAll(events))
	}
	w.must(os.Remove(w.marker))
	b, err := os.ReadFile(name)
	w.must(err)
	for _, e := range events {
		if e.Hook == event.HookExec && e.File != nil && e.File.Path == name && e.File.SHA256 != sumOf(b) && !bytes.HasPrefix(b, []byte("#!")) {
			w.t.Errorf("%s: the record says %s", name, show(e))
		}
	}
	return events
}

func (w *digestWorld) refused(name, rule string) *event.Event {
	w.t.Helper()
	o, events := w.do(w.actor(), []string{"exec", name})
	if o.Last() != syscall.EPERM || ran(w.marker) {
		w.t.Fatalf("%s: got %v, ran: %v\n%s", name, o, ran(w.marker), showAll(events))
	}
	e := told(w.t, w.world, o, rule)
	if d := e.Decision; d.Effect != event.EffectRefused || d.Late || d.Divergence {
		w.t.Errorf("%s: got %s", name, show(e))
	}
	return e
}

func showAll(events []*event.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, show(e))
	}
	return strings.Join(out, "\n")
}

// TestDigest: where the kernel computes digests, a program is refused by its
// content at first sight, in the hook, with no gate and nobody asked.
func TestDigest(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		if backend != lsm {
			t.Skip("only LSM programs can have the kernel compute a digest")
		}
		w := &digestWorld{world: newWorld(t, backend)}
		w.dir, w.marker = w.path("d"), w.path("marker")
		dirs := []string{w.dir}
		for _, dir := range []string{w.disk(), w.overlay()} {
			if dir != "" {
				dirs = append(dirs, dir)
			}
		}
		var below, listed []string
		for _, dir := range dirs {
			w.must(os.MkdirAll(filepath.Join(dir, "listed"), 0o755))
			below, listed = append(below, dir+"/"), append(listed, dir+"/listed/")
		}
		bad, good, one, called := w.content("bad1"), w.content("good"), w.content("one"), w.content("called")
		script := []byte("#!" + w.path("interpreter") + "\n# bad\n")
		many := []string{sumOf(bad), sumOf(script)}
		for i := range 2000 {
			many = append(many, sumOf([]byte{byte(i), byte(i >> 8)}))
		}
		w.policy(map[string]any{"bad": many, "good": []string{sumOf(good)}, "one": sumOf(one), "called": []string{sumOf(called)}, "dirs": below, "listed": listed},
			map[string]string{"exec": kernelDigestPolicy})
		w.write(w.path("interpreter"), w.content("interpreter"), 0o755)
		w.start(event.ModeEnforce, "--step-down-programs", "0")
		if text := w.cli("explain", "--running"); strings.Count(text, ": KERNEL") != 5 || strings.Count(text, ": COMMIT") != 1 {
			t.Fatalf("not all rules are the kernel's:\n%s", text)
		}
		count := func(name string) uint64 {
			st, err := w.agent.Status(w.wait())
			w.must(err)
			return st.Counters["kernel_"+name]
		}
		known := func() uint64 { return count("digest_known") }
		blind := uint64(3)
		for i, dir := range dirs {
			before := known()
			t.Run(filepath.Base(dir), func(t *testing.T) {
				w := &digestWorld{world: w.world.in(t), dir: dir, marker: w.marker}
				w.try(bad, good)
				switch filepath.Base(dir) {
				case "d":
					w.more(bad, one, called, script)
				case "disk":
					if known() == before {
						t.Error("every digest was computed anew")
					}
				case "overlay":
					w.layers(known)
					blind++
				}
			})
			if i == 0 && known() != before {
				t.Error("a tmpfs tells of no changes, and digests were kept")
			}
		}
		w.t = t
		t.Logf("computed %d, known %d", count("digest_computed"), known())
		if n, open := count("digest_unknown"), count("fail_open_undecided"); n != blind || open != 1 {
			t.Errorf("%d acts had no digest, want %d; %d passed, want 1", n, blind, open)
		}
		w.stop()
	})
}

// try is what is the same on all filesystems but for what they tell of changes.
func (w *digestWorld) try(bad, good []byte) {
	w.write(w.in("evil"), bad, 0o755)
	w.write(w.in("edited"), w.content("bad2"), 0o755)
	w.write(w.in("listed", "a"), good, 0o755)
	for range 2 {
		e := w.refused(w.in("evil"), "e2e-bad")
		if d := e.Decision; e.File.SHA256 != sumOf(bad) || d.Source != event.SourceTable || d.Undecided || !strings.Contains(d.Message, sumOf(bad)) {
			w.t.Errorf("got %s", show(e))
		}
	}
	w.often(w.in("edited"))
	// Changed in place through a mapping, which on a tmpfs leaves no trace, there
	// and back again.
	w.poke(w.in("edited"), '1')
	w.refused(w.in("edited"), "e2e-bad")
	w.poke(w.in("edited"), '2')
	w.runs(w.in("edited"))
	// Replaced, and overwritten.
	w.write(w.in("edited"), bad, 0o755)
	w.refused(w.in("edited"), "e2e-bad")
	w.must(os.WriteFile(w.in("edited"), w.content("bad2"), 0o755))
	w.runs(w.in("edited"))
	// A list of what may run.
	w.runs(w.in("listed", "a"))
	w.poke(w.in("listed", "a"), 'D')
	w.refused(w.in("listed", "a"), "e2e-unlisted")
	w.poke(w.in("listed", "a"), 'd')
	w.runs(w.in("listed", "a"))
}

// often runs a program so often that its digest is known, where the filesystem
// tells of changes.
func (w *digestWorld) often(name string) {
	w.t.Helper()
	for range 4 {
		w.runs(name)
		time.Sleep(60 * time.Millisecond)
	}
}

// more is what has nothing to do with the filesystem.
func (w *digestWorld) more(bad, one, called, script []byte) {
	w.write(w.in("innocent"), bad, 0o755)
	w.refused(w.in("innocent"), "e2e-bad")
	// A script is judged, and so is its interpreter.
	w.write(w.in("script"), script, 0o755)
	if e := w.refused(w.in("script"), "e2e-bad"); e.File.SHA256 != sumOf(script) {
		w.t.Errorf("got %s", show(e))
	}
	w.write(w.in("harmless"), append(script, "# not\n"...), 0o755)
	w.runs(w.in("harmless"))
	w.write(w.in("by-evil"), []byte("#!"+w.in("evil")+"\n"), 0o755)
	if e := w.refused(w.in("by-evil"), "e2e-bad"); e.File.Path != w.in("evil") || e.File.SHA256 != sumOf(bad) {
		w.t.Errorf("got %s", show(e))
	}
	// By one constant, and with arguments, when the image is in place.
	w.write(w.in("one"), one, 0o755)
	w.alerted(w.runs(w.in("one")), "one", "e2e-one", one)
	w.write(w.in("called"), called, 0o755)
	w.runs(w.in("called"), "--good")
	o, events := w.do(w.actor(), []string{"exec", w.in("called"), "--evil"})
	if found := denials(events, event.HookExec, "e2e-args"); o.Signal != syscall.SIGKILL || len(found) != 1 || found[0].File.SHA256 != sumOf(called) {
		w.t.Errorf("got %v\n%s", o, showAll(events))
	}
	w.together()
	// Who keeps a memfd can write it while it runs: it has no digest, and the rule
	// says what happens then.
	w.blind("e2e-memory", "memfd", w.in("listed", "a"))
	// What is too large to be read before an exec, if only by its size.
	w.write(w.in("holes"), w.content("bad2"), 0o755)
	w.must(os.Truncate(w.in("holes"), 1<<30+1))
	w.blind("e2e-bad", "exec", w.in("holes"))
	// Where the rule says nothing else it passes, and the record says why.
	loose := w.path("loose")
	w.write(loose, w.content("bad2"), 0o755)
	w.must(os.Truncate(loose, 1<<30+1))
	o, events = w.do(w.actor(), []string{"exec", loose})
	if !slices.ContainsFunc(events, func(e *event.Event) bool {
		d := e.Decision
		return e.File != nil && e.File.Path == loose && d.Verdict == event.VerdictAllow && d.Undecided && strings.Contains(d.FailOpen, "digest of the file was not known")
	}) || o.Exit != harness.MarkerExit {
		w.t.Errorf("got %v\n%s", o, showAll(events))
	}
	w.must(os.Remove(w.marker))
}

// alerted: the record of an alert has the digest of its program.
func (w *digestWorld) alerted(events []*event.Event, name, rule string, content []byte) {
	w.t.Helper()
	for _, e := range events {
		if d := e.Decision; e.Hook == event.HookExec && d.Verdict == event.VerdictAlert && d.Rule.ID == rule && e.File.SHA256 == sumOf(content) {
			return
		}
	}
	w.t.Errorf("%s: no alert by %s\n%s", name, rule, showAll(events))
}

// blind: the act is refused because the file has no digest.
func (w *digestWorld) blind(rule string, step ...string) {
	w.t.Helper()
	o, events := w.do(w.actor(), step)
	if found := denials(events, event.HookExec, rule); o.Last() != syscall.EPERM || len(found) != 1 ||
		!found[0].Decision.Undecided || found[0].Decision.Source != event.SourceDefault || found[0].File.SHA256 != "" {
		w.t.Errorf("got %v\n%s", o, showAll(events))
	}
}

// together: others are executed, on the same processor, while the kernel reads a
// large program.
func (w *digestWorld) together() {
	w.t.Helper()
	large := w.in("large")
	w.write(large, append(harness.MarkerProgram(w.marker+".large"), make([]byte, 6<<20)...), 0o755)
	done := make(chan error, 1)
	go func() {
		_, err := w.actor().Do([]string{"exec", large})
		done <- err
	}()
	during := 0
	for over := false; !over; {
		select {
		case err := <-done:
			w.must(err)
			over = true
		default:
			if e := w.refused(w.in("evil"), "e2e-bad"); e.Decision.Undecided || e.File.SHA256 == "" {
				w.t.Errorf("got %s", show(e))
			}
			during++
		}
	}
	w.t.Logf("%d were judged while a large one was", during)
}

// disk mounts the guest's disk: other filesystems of a guest are in memory, and
// tell of changes through mappings in no way. "" if it has none.
func (w *digestWorld) disk() string {
	w.t.Helper()
	if _, err := os.Stat(guest.DiskDevice); err != nil {
		w.t.Log("no filesystem that notes changes: digests are computed each time")
		return ""
	}
	dir := w.path("disk")
	w.mount(guest.DiskDevice, dir, "ext4", "")
	return dir
}

func (w *digestWorld) mount(device, dir, kind, options string) {
	w.t.Helper()
	w.must(os.MkdirAll(dir, 0o755))
	w.must(unix.Mount(device, dir, kind, 0, options))
	w.t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			w.t.Error(err)
		}
	})
}

// overlayModule is where a guest finds the module.
const overlayModule = "lib/overlay.ko"

// overlay mounts one, with a program in its lower layer; "" if it cannot.
func (w *digestWorld) overlay() string {
	w.t.Helper()
	f, err := os.Open("/" + overlayModule)
	if err != nil {
		w.t.Log("no overlay: the module is not there")
		return ""
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		w.t.Fatal(err)
	}
	dir, low, up, work := w.path("overlay"), w.path("layers/low"), w.path("layers/up"), w.path("layers/work")
	for _, d := range []string{low, up, work} {
		w.must(os.MkdirAll(d, 0o755))
	}
	w.write(filepath.Join(low, "image"), w.content("bad2"), 0o755)
	w.mount("overlay", dir, "overlay", "lowerdir="+low+",upperdir="+up+",workdir="+work)
	return dir
}

// layers: a file of the image is known, until it is written; and one that somebody
// has mapped for writing has no digest, though the kernel executes it.
func (w *digestWorld) layers(known func() uint64) {
	before := known()
	w.often(w.in("image"))
	if known() == before {
		w.t.Error("the digest of a file in the lower layer was computed each time")
	}
	w.poke(w.in("image"), '1')
	w.refused(w.in("image"), "e2e-bad")
	f, err := os.OpenFile(w.in("image"), os.O_RDWR, 0)
	w.must(err)
	m, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	w.must(err)
	w.must(f.Close())
	w.blind("e2e-bad", "exec", w.in("image"))
	w.must(unix.Munmap(m))
	w.refused(w.in("image"), "e2e-bad")
}

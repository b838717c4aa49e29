package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// keyedGate is newGate without the rule whose answer the kernel cannot know.
func keyedGate(t *testing.T, backend string) (w *world, held string) {
	t.Helper()
	w, held = newGate(t, backend, "allow")
	policy, _, _ := strings.Cut(strings.ReplaceAll(strings.ReplaceAll(gatePolicy, "%%", "%"), "deadline: %s", "deadline: allow"), "# METADATA\n# title: The answer changes")
	w.policy(map[string]any{"held": held + "/"}, map[string]string{"exec": policy})
	return w, held
}

// TestGateWaived: about an exec whose answer the kernel knows no question is put, and
// about each other one of the same file one is.
func TestGateWaived(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		if backend != lsm {
			t.Skip("only the LSM backend knows before the question is put")
		}
		w, held := keyedGate(t, backend)
		in := func(elem ...string) string { return filepath.Join(append([]string{held}, elem...)...) }
		w.must(os.Chmod(held, 0o777))
		w.must(os.Mkdir(in("plain"), 0o777))
		good, goodRan := w.program(in("plain", "good"))
		admin, adminRan := w.program(in("admin"))
		w.start(event.ModeEnforce, "--gate-mount", held)
		runs := func(path, marker string, steps ...[]string) {
			t.Helper()
			o, events := w.do(w.actor(), append(steps, []string{"exec", path})...)
			if o.Exit != harness.MarkerExit || !ran(marker) {
				t.Errorf("%s: got %v", path, o)
			}
			w.must(os.RemoveAll(marker))
			for _, e := range events {
				if e.Decision.Undecided || e.Decision.Verdict == event.VerdictDeny {
					t.Errorf("the answer was not found: %s", show(e))
				}
			}
		}
		// quiet runs a program that is known by now without a question.
		quiet := func(path, marker string, steps ...[]string) {
			t.Helper()
			// It is waived when the exec has been let go already.
			eventually(t, "no question is put", func() bool {
				before := w.counter("gate_questions")
				runs(path, marker, steps...)
				return w.counter("gate_questions") == before
			})
			before, waived := w.counter("gate_questions"), w.counter("kernel_held_waived")
			for range 3 {
				runs(path, marker, steps...)
			}
			if asked, known := w.counter("gate_questions")-before, w.counter("kernel_held_waived")-waived; asked != 0 || known != 3 {
				t.Errorf("%d questions about three execs, %d answers were known", asked, known)
			}
		}
		refused := func(rule, marker string, steps ...[]string) {
			t.Helper()
			o, _ := w.do(w.actor(), steps...)
			if o.Last() != syscall.EPERM || ran(marker) {
				t.Errorf("got %v", o)
			}
			if e := told(t, w, o, rule); e.Decision.Source != event.SourceGate || e.Decision.Undecided {
				t.Errorf("got %s", show(e))
			}
		}

		quiet(good, goodRan)
		// Another subject: the same file is asked about, and refused; then that is known, too.
		quiet(admin, adminRan)
		refused("e2e-held-user", adminRan, []string{"setuid", "4242"}, []string{"exec", admin})
		quiet(admin, adminRan)
		asked := w.counter("gate_questions")
		refused("e2e-held-user", adminRan, []string{"setuid", "4242"}, []string{"exec", admin})
		if w.counter("gate_questions") != asked {
			t.Error("a question about an exec whose refusal is known")
		}
		// Another path: no event on the file tells of it.
		quiet(good, goodRan)
		refused("e2e-held", goodRan, []string{"rename", in("plain"), in("evil")}, []string{"exec", in("evil", "good")})
		w.must(os.Rename(in("evil"), in("plain")))
		// Who is executed under several keys again and again is asked about each time.
		for _, user := range []string{"4243", "4244"} {
			quiet(admin, adminRan)
			runs(admin, adminRan, []string{"setuid", user})
		}
		before := w.counter("gate_questions")
		for range 3 {
			runs(admin, adminRan)
		}
		if asked := w.counter("gate_questions") - before; asked != 3 {
			t.Errorf("%d questions about three execs", asked)
		}
		// What is written to is asked about.
		other, otherRan := w.program(in("other"))
		quiet(other, otherRan)
		asked = w.counter("gate_questions")
		w.must(os.Chmod(other, 0o700))
		runs(other, otherRan)
		if w.counter("gate_questions") == asked {
			t.Error("no question about a file that was changed")
		}
		if late := w.counter("kernel_held_late") + w.counter("kernel_fail_closed_waived"); late != 0 {
			t.Errorf("%d waivers were not taken back in time", late)
		}
		w.stop()
	})
}

// TestGateWaivedRace: many who execute one file, of whom some may not, while it is waived
// and taken back: none of those runs.
func TestGateWaivedRace(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		if backend != lsm {
			t.Skip("only the LSM backend knows before the question is put")
		}
		w, held := keyedGate(t, backend)
		w.must(os.Chmod(held, 0o777))
		admin, _ := w.program(filepath.Join(held, "admin"))
		w.start(event.ModeEnforce, "--gate-mount", held)
		var wg sync.WaitGroup
		var wronged atomic.Uint64
		for i := range 4 {
			wg.Go(func() {
				for range 15 {
					steps := [][]string{{"exec", admin}}
					if i == 0 {
						steps = [][]string{{"setuid", "4242"}, {"exec", admin}}
					}
					o, err := w.actor().Do(steps...)
					if err != nil {
						t.Error(err)
						return
					}
					switch refused := o.Last() == syscall.EPERM; {
					case i == 0 && !refused:
						t.Errorf("who may not: got %v", o)
					case i > 0 && refused:
						wronged.Add(1)
					}
				}
			})
		}
		wg.Wait()
		// Closed where nobody was asked: that is counted, and should be rare.
		if n, said := wronged.Load(), w.counter("kernel_fail_closed_waived"); n > said || n > 5 {
			t.Errorf("%d of who may were refused, %d on record", n, said)
		}
		w.stop()
	})
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// The names are tested in a way that no kernel table has.
const gatePolicy = `package bailiff.exec

# METADATA
# title: A program with an evil name is run
# custom: {id: e2e-held, undecided: hold, deadline: %s}
deny contains {"message": sprintf("%%s ran %%s", [input.process.exe.path, input.file.path])} if {
	startswith(input.file.path, data.e2e.held)
	contains(input.file.path, "evil")
}

# METADATA
# title: A user runs what is not for it
# custom: {id: e2e-held-user, undecided: hold, deadline: %s}
deny contains "user" if {
	startswith(input.file.path, data.e2e.held)
	contains(input.file.name, "admin")
	input.process.uid == 4242
}

# METADATA
# title: The answer changes by itself
# custom: {id: e2e-held-once, undecided: hold, deadline: %s}
deny contains "pid" if {
	startswith(input.file.path, data.e2e.held)
	contains(input.file.name, "once")
	input.process.pid > 1
	input.process.comm != "nobody"
}
`

// newGate makes a world with a filesystem of its own, on which alone execs are
// held: the rest of the machine is not touched.
func newGate(t *testing.T, backend, deadline string) (w *world, held string) {
	t.Helper()
	w = newWorld(t, backend)
	held = w.path("held")
	w.must(os.MkdirAll(held, 0o755))
	w.must(unix.Mount("tmpfs", held, "tmpfs", 0, "mode=755"))
	t.Cleanup(func() {
		if err := unix.Unmount(held, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	w.policy(map[string]any{"held": held + "/"}, map[string]string{"exec": strings.ReplaceAll(gatePolicy, "%s", deadline)})
	return w, held
}

// program writes a program that leaves a marker beside itself.
func (w *world) program(name string) (path, marker string) {
	w.t.Helper()
	marker = name + ".ran"
	w.write(name, harness.MarkerProgram(marker), 0o755)
	return name, marker
}

func ran(marker string) bool {
	_, err := os.Stat(marker)
	return err == nil
}

// TestGate: a rule that no table holds has its verdict before the exec, with
// EPERM, also where no hook can refuse.
func TestGate(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		w, held := newGate(t, backend, "allow")
		in := func(elem ...string) string { return filepath.Join(append([]string{held}, elem...)...) }
		evil, evilRan := w.program(in("evil"))
		good, goodRan := w.program(in("good"))
		w.write(in("script"), []byte("#!"+evil+"\n"), 0o755)
		w.write(in("evil-script"), []byte("#!"+good+"\n"), 0o755)
		w.must(os.Mkdir(in("evildir"), 0o755))
		below, belowRan := w.program(in("evildir", "x"))
		w.must(os.Symlink("evil", in("sym")))
		w.must(os.Mkdir(in("plaindir"), 0o755))
		moved, movedRan := w.program(in("plaindir", "moved"))
		w.start(event.ModeEnforce, "--gate-mount", held)

		refused := func(name, path, marker string, steps ...[]string) {
			t.Run(name, func(t *testing.T) {
				w := w.in(t)
				o, _ := w.do(w.actor(), steps...)
				if o.Last() != syscall.EPERM || ran(marker) {
					t.Errorf("got %v, ran: %v; want EPERM", o, ran(marker))
				}
				found := told(t, w, o, "e2e-held")
				d := found.Decision
				if d.Effect != event.EffectRefused || d.Source != event.SourceGate || d.Message == "" || found.File.Path != path {
					t.Errorf("got %s", show(found))
				}
			})
		}
		refused("direct", evil, evilRan, []string{"exec", evil})
		refused("again", evil, evilRan, []string{"exec", evil})
		refused("symlink", evil, evilRan, []string{"exec", in("sym")})
		refused("descriptor", evil, evilRan, []string{"fexec", evil})
		refused("thread", evil, evilRan, []string{"thread", "exec", evil})
		refused("interpreter", evil, evilRan, []string{"exec", in("script")})
		refused("script", in("evil-script"), goodRan, []string{"exec", in("evil-script")})
		refused("below", below, belowRan, []string{"exec", below})
		refused("bind mount in a namespace of its own", evil, evilRan,
			[]string{"unshare"}, []string{"bind", evil, good}, []string{"exec", good})

		t.Run("allowed", func(t *testing.T) {
			w := w.in(t)
			for range 2 {
				o, events := w.do(w.actor(), []string{"exec", good})
				if o.Exit != harness.MarkerExit || !ran(goodRan) {
					t.Errorf("got %v", o)
				}
				for _, e := range events {
					if e.Decision.Undecided || e.Decision.Verdict == event.VerdictDeny {
						t.Errorf("the gate's answer was not found: %s", show(e))
					}
				}
			}
		})
		t.Run("other subject, same file", func(t *testing.T) {
			w := w.in(t)
			admin, adminRan := w.program(in("admin"))
			w.must(os.Chmod(held, 0o777))
			if o, _ := w.do(w.actor(), []string{"exec", admin}); o.Exit != harness.MarkerExit {
				t.Errorf("root: got %v", o)
			}
			w.must(os.Remove(adminRan))
			o, _ := w.do(w.actor(), []string{"setuid", "4242"}, []string{"exec", admin})
			if o.Last() != syscall.EPERM || ran(adminRan) {
				t.Errorf("4242: got %v", o)
			}
			told(t, w, o, "e2e-held-user")
		})
		t.Run("no key", func(t *testing.T) {
			w := w.in(t)
			once, onceRan := w.program(in("once"))
			for range 2 {
				if o, _ := w.do(w.actor(), []string{"exec", once}); o.Last() != syscall.EPERM || ran(onceRan) {
					t.Errorf("got %v", o)
				}
			}
		})
		// The verdict about a path is found no more when anything above is renamed.
		t.Run("moved between verdict and use", func(t *testing.T) {
			w := w.in(t)
			if o, _ := w.do(w.actor(), []string{"exec", moved}); o.Exit != harness.MarkerExit {
				t.Errorf("before: got %v", o)
			}
			w.must(os.Remove(movedRan))
			o, _ := w.do(w.actor(), []string{"rename", in("plaindir"), in("evil-plain")}, []string{"exec", in("evil-plain", "moved")})
			if o.Last() != syscall.EPERM || ran(movedRan) {
				t.Errorf("after: got %v", o)
			}
			o, _ = w.do(w.actor(), []string{"rename", in("evil-plain"), in("plaindir")}, []string{"exec", moved})
			if o.Exit != harness.MarkerExit {
				t.Errorf("and back: got %v", o)
			}
			o, _ = w.do(w.actor(), []string{"link", moved, in("plaindir", "evil")}, []string{"exec", in("plaindir", "evil")})
			if o.Last() != syscall.EPERM {
				t.Errorf("linked: got %v", o)
			}
		})
		w.stop()
	})
}

// TestGateAudit: in audit mode the exec goes on, and the record says that it
// would have been refused.
func TestGateAudit(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		w, held := newGate(t, backend, "deny")
		evil, evilRan := w.program(filepath.Join(held, "evil"))
		w.start(event.ModeAudit, "--gate-mount", held)
		o, events := w.do(w.actor(), []string{"exec", evil})
		found := denials(events, event.HookExec, "e2e-held")
		if o.Exit != harness.MarkerExit || !ran(evilRan) || len(found) != 1 {
			t.Fatalf("got %v, %d denials", o, len(found))
		}
		if d := found[0].Decision; d.Effect != event.EffectNone || d.Source != event.SourceGate || d.Late {
			t.Errorf("got %s", show(found[0]))
		}
		w.stop()
	})
}

// TestGateAgentKilled: whatever ends the agent lets every exec go that waits.
func TestGateAgentKilled(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		w, held := newGate(t, backend, "allow")
		good, goodRan := w.program(filepath.Join(held, "good"))
		w.start(event.ModeEnforce, "--gate-mount", held, "--gate-deadline", "60s")
		// A stopped agent answers nothing, and its deadline does not pass either.
		w.must(unix.Kill(w.agent.PID(), unix.SIGSTOP))
		got := make(chan string, 8)
		for range cap(got) {
			go func() {
				o, err := w.actor().Do([]string{"exec", good})
				got <- fmt.Sprint(o, err)
			}()
		}
		eventually(t, "all of them wait", func() bool { n, err := waiting(w.cgroup); return err == nil && n == cap(got) })
		if ran(goodRan) {
			t.Error("an exec did not wait")
		}
		w.must(w.agent.Kill())
		ctx := w.wait()
		for range cap(got) {
			select {
			case s := <-got:
				if !strings.Contains(s, fmt.Sprintf("exit %d", harness.MarkerExit)) {
					t.Errorf("got %s", s)
				}
			case <-ctx.Done():
				t.Fatal("an exec hangs")
			}
		}
	})
}

// waiting counts the processes of a cgroup that nothing but an answer or their
// end wakes: so waits who is held.
func waiting(c *harness.Cgroup) (int, error) {
	pids, err := c.Procs()
	if err != nil {
		return 0, err
	}
	n := 0
	for _, p := range pids {
		threads, err := filepath.Glob("/proc/" + p + "/task/*/stat")
		if err != nil {
			return 0, err
		}
		for _, name := range threads {
			b, err := os.ReadFile(name)
			if _, rest, ok := strings.Cut(string(b), ") "); err == nil && ok && strings.HasPrefix(rest, "D") {
				n++
			}
		}
	}
	return n, nil
}

// told waits for the one denial by a rule of an act of a process. The gate
// answers before it tells, so the event may come after the one of the
// process's end.
func told(t *testing.T, w *world, o *harness.Outcome, rule string) *event.Event {
	t.Helper()
	var found []*event.Event
	eventually(t, "the refusal is told", func() bool {
		found = denials(w.stream.All(), event.HookExec, rule)
		found = slices.DeleteFunc(found, func(e *event.Event) bool { return e.Process.PID != int32(o.PID) })
		return len(found) > 0
	})
	if len(found) != 1 {
		t.Fatalf("%d denials by %s, want 1", len(found), rule)
	}
	return found[0]
}

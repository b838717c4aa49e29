package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// target is a denied act of the backend's own kind: an open where it can be
// refused, else an exec.
type target struct {
	steps  [][]string
	denied func(*harness.Outcome) bool
}

// denyTarget writes a policy that denies one act, and returns it.
func (w *world) denyTarget() target {
	w.t.Helper()
	name := w.path("target")
	w.write(name, harness.MarkerProgram(w.path("marker")), 0o755)
	data := map[string]any{"secrets": []string{name}, "vaults": []string{}, "readonly": []string{}}
	if refuses(w.backend) {
		w.policy(data, map[string]string{"open": openPolicy})
		return target{steps([]string{"open", name}), func(o *harness.Outcome) bool { return o.Last() == syscall.EPERM }}
	}
	w.policy(map[string]any{"programs": []string{name}, "directories": []string{}, "parents": []string{}}, map[string]string{"exec": execPolicy})
	return target{steps([]string{"exec", name}), func(o *harness.Outcome) bool { return o.Signal == syscall.SIGKILL }}
}

// try does the target's act and reports whether it was denied.
func (w *world) try(a harness.Actor, tg target) bool {
	w.t.Helper()
	o, err := a.Do(tg.steps...)
	if err != nil {
		w.t.Fatal(err)
	}
	return tg.denied(o)
}

// TestMode shows that a mode switch acts at once, both ways, and is on record.
func TestMode(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		w := newWorld(t, backend)
		tg := w.denyTarget()
		w.start(event.ModeAudit)
		for i, mode := range []event.Mode{event.ModeAudit, event.ModeEnforce, event.ModeAudit, event.ModeEnforce} {
			if i > 0 {
				if err := w.agent.SetMode(w.wait(), mode); err != nil {
					t.Fatal(err)
				}
			}
			st, err := w.agent.Status(w.wait())
			if err != nil || st.Mode != mode.String() {
				t.Fatalf("status says mode %+v (%v), want %v", st, err, mode)
			}
			if denied := w.try(w.actor(), tg); denied != (mode == event.ModeEnforce) {
				t.Errorf("switch %d, mode %v: denied is %v", i, mode, denied)
			}
		}
		w.stop()
	})
}

// TestScope shows that nothing is denied outside the cgroup, that a cgroup
// below it belongs to it, and that leaving it does not help.
func TestScope(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		w := newWorld(t, backend)
		tg := w.denyTarget()
		w.start(event.ModeEnforce)
		if w.try(harness.Actor{Dir: "/"}, tg) {
			t.Error("denied outside the scope")
		}
		if !w.try(w.actor(), tg) {
			t.Error("not denied in the scope")
		}
		below := filepath.Join(w.cgroup.Dir, "below")
		w.must(os.Mkdir(below, 0o755))
		defer os.Remove(below)
		enter := []string{"enter", below}
		if !w.try(w.actor(), target{append(steps(enter), tg.steps...), tg.denied}) {
			t.Error("not denied in a cgroup below the scope")
		}
		leave := []string{"enter", filepath.Dir(w.cgroup.Dir)}
		if !w.try(w.actor(), target{append(steps(leave), tg.steps...), tg.denied}) {
			t.Error("not denied after leaving the scope")
		}
		w.stop()
	})
}

// TestRestart shows that an agent that ends, asked or killed, leaves nothing
// that denies, and that the next one denies again.
func TestRestart(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		w := newWorld(t, backend)
		tg := w.denyTarget()
		before := kernelObjects(t)
		for _, how := range []string{"SIGTERM", "SIGKILL", "SIGTERM"} {
			// With a spool the counters of a killed agent stay, for the next one to
			// read (TestKilledAgent).
			w.startOnly(event.ModeEnforce, "--spool", "off")
			if !w.try(w.actor(), tg) {
				t.Errorf("not denied while the agent runs")
			}
			if how == "SIGKILL" {
				w.must(w.agent.Kill())
			} else {
				w.stopOnly()
			}
			// Links are taken down when their last descriptor is closed, some
			// time after the process is gone.
			eventually(t, "nothing is denied after "+how, func() bool { return !w.try(w.actor(), tg) })
			if inGuest() {
				eventually(t, "no program, map or link remains after "+how, func() bool {
					return !slices.ContainsFunc(kernelObjects(t), func(o kernelObject) bool { return !slices.Contains(before, o) })
				})
			}
		}
	})
}

// TestRescue shows that a program of the rescue set is never denied, by
// whatever name it runs, and that a copy of it is.
func TestRescue(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		w := newWorld(t, backend)
		tg := w.denyTarget()
		self, err := os.Executable()
		w.must(err)
		rescue, link, other := w.path("rescue"), w.path("link"), w.path("other")
		w.must(copyFile(self, rescue))
		w.must(os.Link(rescue, link))
		w.must(copyFile(self, other))
		w.start(event.ModeEnforce, "--rescue", rescue)
		for _, tt := range []struct {
			program string
			denied  bool
		}{{rescue, false}, {link, false}, {other, true}} {
			a := w.actor()
			a.Program = tt.program
			if denied := w.try(a, tg); denied != tt.denied {
				t.Errorf("%s: denied is %v", filepath.Base(tt.program), denied)
			}
		}
		w.stop()
	})
}

// TestBrokenBundle shows that a bundle with an error stops nothing: the old
// policy stays in force and the agent says so.
func TestBrokenBundle(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		w := newWorld(t, backend)
		tg := w.denyTarget()
		w.start(event.ModeEnforce)
		st, err := w.agent.Status(w.wait())
		if err != nil {
			t.Fatal(err)
		}
		good := st.Revision
		w.write(filepath.Join(w.bundle, "broken.rego"), []byte("package bailiff.open\n\ndeny contains {\n"), 0o644)
		if err := w.reload(); err == nil || !strings.Contains(err.Error(), "broken.rego") {
			t.Errorf("reload says %v, want the file with the error", err)
		}
		eventually(t, "the agent says that its policy is stale", func() bool {
			st, err = w.agent.Status(w.wait())
			return err == nil && len(st.Conditions) > 0
		})
		if st.Revision != good {
			t.Errorf("revision went from %q to %q", good, st.Revision)
		}
		if !w.try(w.actor(), tg) {
			t.Error("the old policy no longer denies")
		}
		w.must(os.Remove(filepath.Join(w.bundle, "broken.rego")))
		w.must(w.reload())
		eventually(t, "the condition goes away", func() bool {
			st, err = w.agent.Status(w.wait())
			return err == nil && len(st.Conditions) == 0
		})
		w.stop()
	})
}

// reload asks the agent to read its bundle again.
func (w *world) reload() error {
	_, err := w.agent.CLI(w.wait(), "reload")
	return err
}

// eventually asks again and again until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !f(); {
		if time.Now().After(deadline) {
			t.Fatalf("did not come true: %s", what)
		}
	}
}

// kernelObject is one BPF program, map or link. Ids are not used again.
type kernelObject struct {
	kind uintptr
	id   uint32
}

// kernelObjects lists what BPF objects there are.
func kernelObjects(t *testing.T) (all []kernelObject) {
	t.Helper()
	for _, kind := range []uintptr{unix.BPF_PROG_GET_NEXT_ID, unix.BPF_MAP_GET_NEXT_ID, unix.BPF_LINK_GET_NEXT_ID} {
		attr := struct{ start, next, flags uint32 }{}
		for {
			_, _, errno := unix.Syscall(unix.SYS_BPF, kind, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
			if errno == unix.ENOENT {
				break
			} else if errno != 0 {
				t.Fatalf("list BPF objects: %v", errno)
			}
			all = append(all, kernelObject{kind, attr.next})
			attr.start = attr.next
		}
	}
	return all
}

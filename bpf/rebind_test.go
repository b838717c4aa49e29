package bpf

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// TestRebind is about files that get and lose names while the rules are in
// force. One world for all: in a guest it takes long to make one.
func TestRebind(t *testing.T) {
	w := newWorld(t, Options{})
	for name, test := range map[string]func(*testing.T, *world){
		"later": testBoundLater, "identity": testIdentity, "moved": testMoved, "decided before": testDecidedBefore, "stale verdict": testStaleVerdict,
	} {
		t.Run(name, func(t *testing.T) { test(t, w.in(t)) })
	}
}

// testBoundLater: what a rule names is judged when it appears later, when it is
// replaced, and on a filesystem that is mounted later.
func testBoundLater(t *testing.T, w *world) {
	dir := t.TempDir()
	late := filepath.Join(dir, "not", "yet", "there")
	under := filepath.Join(dir, "mounted") + "/"
	if err := os.Mkdir(under, 0o755); err != nil {
		t.Fatal(err)
	}
	w.enforce(&ir.Program{Revision: "test", Rules: map[event.Hook][]ir.Rule{event.HookExec: {{
		Ref: event.RuleRef{ID: "late"}, Verdict: event.VerdictDeny, Clauses: []ir.Clause{
			{When: []ir.Cond{{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{late}}}},
			{When: []ir.Cond{{Field: event.FieldPath, Op: ir.OpPrefix, Strs: []string{under}}}},
		},
	}}}})

	w.rebound(func() {
		if err := os.MkdirAll(filepath.Dir(late), 0o755); err != nil {
			t.Fatal(err)
		}
	}, func(b *binding) bool { return b.missing == 0 })
	exitProgram(t, late)
	w.wantKilled(late)
	// Replaced by rename: judged by its name at once, whether or not it is
	// bound again by now.
	if err := os.Rename(exitProgram(t, filepath.Join(dir, "new")), late); err != nil {
		t.Fatal(err)
	}
	w.wantKilled(late)

	w.rebound(func() {
		if err := unix.Mount("tmpfs", under, "tmpfs", 0, ""); err != nil {
			t.Skip("cannot mount: ", err)
		}
		t.Cleanup(func() { unix.Unmount(under, unix.MNT_DETACH) })
	}, func(b *binding) bool {
		for _, ms := range b.mounts.byDev {
			if ms[0].at+"/" == under {
				return true
			}
		}
		return false
	})
	w.wantKilled(exitProgram(t, under+"prog"))
	w.events(event.HookExec, 3)
}

// rebound does something and waits until the kernel side has taken notice.
func (w *world) rebound(act func(), noticed func(*binding) bool) {
	w.t.Helper()
	act()
	done := func() bool {
		w.k.mu.Lock() // and all of it is written
		defer w.k.mu.Unlock()
		return noticed(w.k.active.Load().bound())
	}
	for end := time.Now().Add(10 * time.Second); !done(); {
		if time.Now().After(end) {
			w.t.Fatal("the change was not noticed")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) wantKilled(path string) {
	w.t.Helper()
	st, err := w.run(path)
	w.killed(path, st, err)
}

func (w *world) killed(path string, st *os.ProcessState, err error) {
	w.t.Helper()
	if st == nil || st.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		w.t.Errorf("%s: %v, want killed", path, err)
	}
}

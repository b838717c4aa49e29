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

// TestRebind: what a rule names is judged when it appears later, when it is
// replaced, and on a filesystem that is mounted later.
func TestRebind(t *testing.T) {
	w := newWorld(t, Options{})
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
	}, func() bool { return len(w.k.active.Load().bound().missing) == 0 })
	copyFile(t, "/bin/true", late)
	w.wantKilled(late)
	// Replaced by rename: judged by its name at once, whether or not it is
	// bound again by now.
	if err := os.Rename(copyFile(t, "/bin/true", filepath.Join(dir, "new")), late); err != nil {
		t.Fatal(err)
	}
	w.wantKilled(late)

	before := w.k.rebinds.Load()
	w.rebound(func() {
		if err := unix.Mount("tmpfs", under, "tmpfs", 0, ""); err != nil {
			t.Skip("cannot mount: ", err)
		}
		t.Cleanup(func() { unix.Unmount(under, unix.MNT_DETACH) })
	}, func() bool { return w.k.rebinds.Load() > before })
	w.wantKilled(copyFile(t, "/bin/true", under+"prog"))
}

// rebound does something and waits until the kernel side has taken notice.
func (w *world) rebound(act func(), noticed func() bool) {
	w.t.Helper()
	act()
	for end := time.Now().Add(10 * time.Second); !noticed(); {
		if time.Now().After(end) {
			w.t.Fatal("the change was not noticed")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) wantKilled(path string) {
	w.t.Helper()
	st, err := w.run(path)
	if st == nil || st.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		w.t.Errorf("%s: %v, want killed", path, err)
	}
}

package bpf

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// testIdentity: a name stays with its file through a hard link, a bind mount and
// a rename, and goes to the file that comes to its path. User space finds the
// same names as the kernel.
func testIdentity(t *testing.T, w *world) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	p := denyExec(ir.Cond{Field: event.FieldIdentities, Op: ir.OpIn, Strs: []string{"guarded"}})
	p.Identities = []ir.Identity{{Name: "guarded", Paths: []string{at("prog")}}, {Name: "other", Paths: []string{at("other"), at("prog")}}}
	exitProgram(t, at("prog"))
	exitProgram(t, at("other"))
	exitProgram(t, at("copy"))
	w.enforce(p)

	check := func(path, canonical string, guarded bool) {
		t.Helper()
		st, err := w.run(path)
		if killed := st != nil && st.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL; killed != guarded {
			t.Errorf("%s: killed %v (%v), want %v", path, killed, err, guarded)
		}
		// Read at once: a record is decoded by what files are called now.
		ev := w.events(event.HookExec, 1)[0]
		if has := slices.Contains(ev.File.Identities, "guarded"); ev.File.Path != canonical || has != guarded {
			t.Errorf("exec of %s is of %q %v, want %q", path, ev.File.Path, ev.File.Identities, canonical)
		}
	}
	noticed := func(change func()) {
		t.Helper()
		before := w.k.active.Load().bound()
		w.rebound(change, func(b *binding) bool { return b != before })
	}

	check(at("prog"), at("prog"), true)
	check(at("other"), at("other"), false)
	check(at("copy"), at("copy"), false)
	noticed(func() { w.must(os.Link(at("prog"), at("link"))) })
	check(at("link"), at("prog"), true)

	// Moved away, and nothing came to its path: the name stays, and the path.
	noticed(func() { w.must(os.Rename(at("prog"), at("moved"))) })
	check(at("moved"), at("prog"), true)
	check(at("link"), at("prog"), true)
	if err := unix.Mount(at("moved"), at("copy"), "", unix.MS_BIND, ""); err == nil {
		t.Cleanup(func() { unix.Unmount(at("copy"), unix.MNT_DETACH) })
		check(at("copy"), at("prog"), true)
	} else {
		t.Log("no bind mount here: ", err)
	}
	// The rules that come next know it, too.
	w.enforce(p)
	check(at("moved"), at("prog"), true)

	// Something came: by directory and name at once, then by its inode.
	noticed(func() { w.must(os.Rename(exitProgram(t, at("new")), at("prog"))) })
	check(at("prog"), at("prog"), true)
	noticed(func() { w.must(os.Link(at("prog"), at("again"))) })
	check(at("again"), at("prog"), true)
	check(at("moved"), at("moved"), false)
}

package bpf

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// testMoved: what a rule says of a file by its path, or by a directory above it, it
// says after a rename, too, until something else is there.
func testMoved(t *testing.T, w *world) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, d := range []string{"vault/deep", "free"} {
		w.must(os.MkdirAll(at(d), 0o755))
	}
	for _, p := range []string{"listed", "gone", "real", "vault/deep/prog", "free/prog", "plain"} {
		exitProgram(t, at(p))
	}
	w.must(os.Symlink("real", at("symlink")))
	w.must(os.Link(at("gone"), at("link of gone")))
	w.must(os.Symlink("vault", at("symlinked")))
	p := denyExec(ir.Cond{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{at("listed"), at("gone"), at("symlink"), at("free/prog")}})
	rule := &p.Rules[event.HookExec][0]
	rule.Clauses = append(rule.Clauses, ir.Clause{When: []ir.Cond{{Field: event.FieldPath, Op: ir.OpPrefix, Strs: []string{at("vault") + "/", at("symlinked") + "/"}}}})
	w.enforce(p)
	id, err := identifyPath(at("listed"), 0, w.k.identify)
	w.must(err)
	if id.Id.Gen == 0 {
		t.Skip("what is moved is not followed: inodes have no generation here")
	}

	check := func(name string, denied bool, names ...string) {
		t.Helper()
		if st, err := w.run(at(name)); denied {
			w.killed(at(name), st, err)
		} else if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for i := range names {
			names[i] = at(names[i])
		}
		ev := w.events(event.HookExec, 1)[0] // read at once: a record is decoded by what files are called now
		if f := ev.File; !slices.Equal(f.Names, names) || f.At != "" != !slices.Contains(names, at(name)) || f.At != "" && f.At != at(name) {
			t.Errorf("exec of %s is of %q at %q, want %q", name, f.Names, f.At, names)
		}
	}
	noticed := func(change func()) {
		t.Helper()
		before := w.k.active.Load().bound()
		w.rebound(change, func(b *binding) bool { return b != before })
	}
	move := func(from, to string) { noticed(func() { w.must(os.Rename(at(from), at(to))) }) }

	move("listed", "moved")
	check("moved", true, "listed")
	move("moved", "again") // the rebinder has no reason to look at where it was
	check("again", true, "listed")
	noticed(func() { w.must(os.Remove(at("gone"))) })
	check("link of gone", true, "gone")
	noticed(func() { w.must(os.Remove(at("symlink"))) })
	check("real", false, "real")

	move("vault", "elsewhere")
	check("elsewhere/deep/prog", true, "elsewhere/deep/prog", "vault/deep/prog")
	move("elsewhere", "free/elsewhere")
	check("free/elsewhere/deep/prog", true, "free/elsewhere/deep/prog", "vault/deep/prog")
	move("free", "freed") // what is above both
	check("freed/elsewhere/deep/prog", true, "freed/elsewhere/deep/prog", "vault/deep/prog")
	check("freed/prog", true, "free/prog")
	// The rules that come next know it, too.
	w.enforce(p)
	check("freed/elsewhere/deep/prog", true, "freed/elsewhere/deep/prog", "vault/deep/prog")
	check("again", true, "listed")

	// Something came.
	noticed(func() { exitProgram(t, at("listed")) })
	check("again", false, "again")
	check("listed", true, "listed")
	noticed(func() { w.must(os.MkdirAll(at("vault/deep"), 0o755)) })
	check("freed/elsewhere/deep/prog", false, "freed/elsewhere/deep/prog")
	exitProgram(t, at("vault/deep/prog"))
	check("vault/deep/prog", true, "vault/deep/prog", "symlinked/deep/prog")
	check("plain", false, "plain")
}

package bpf

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// TestOpenHelper is the process that TestOpenKept watches: it opens files, and
// becomes somebody else in between.
func TestOpenHelper(t *testing.T) {
	dir := os.Getenv("BAILIFF_TEST_OPEN")
	if dir == "" {
		t.Skip("for TestOpenKept")
	}
	for range 2 {
		for _, name := range []string{"secret", "secret", "other", "third", "secret"} {
			if f, err := os.Open(filepath.Join(dir, name)); err == nil {
				f.Close()
			}
		}
		if err := syscall.Setuid(1); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOpenKept: the answer that is kept for a class of files is not given for
// files of another class, nor after the process has got other credentials.
func TestOpenKept(t *testing.T) {
	w := newWorld(t, Options{})
	dir, err := os.MkdirTemp("", "kept") // TempDir is for root alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := map[string]string{}
	for _, n := range []string{"secret", "other", "third"} {
		path[n] = exitProgram(t, filepath.Join(dir, n))
	}
	rule := func(v event.Verdict, id, file string, more ...ir.Cond) ir.Rule {
		when := append(more, ir.Cond{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{path[file]}})
		return ir.Rule{Ref: event.RuleRef{ID: id}, Verdict: v, Clauses: []ir.Clause{{When: when}}}
	}
	uid := func(n uint64) ir.Cond { return ir.Cond{Field: event.FieldUID, Op: ir.OpIn, Nums: []uint64{n}} }
	w.enforce(&ir.Program{Revision: "test", Rules: map[event.Hook][]ir.Rule{event.HookOpen: {
		rule(event.VerdictDeny, "root-secret", "secret", uid(0)),
		rule(event.VerdictAlert, "other-secret", "secret", uid(1)),
		rule(event.VerdictAlert, "root-other", "other", uid(0)),
	}}})
	w.runTest("TestOpenHelper", "BAILIFF_TEST_OPEN", dir)
	want := []string{
		"root-secret", "root-secret", "root-other", "root-secret",
		"other-secret", "other-secret", "other-secret",
	}
	var got []string
	for _, ev := range w.events(event.HookOpen, len(want)) {
		if ev.Decision.Rule == nil {
			t.Fatalf("no rule: %+v", ev.Decision)
		}
		got = append(got, ev.Decision.Rule.ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("rules %v, want %v", got, want)
	}
}

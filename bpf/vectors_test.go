package bpf

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// TestVectorsHelper is the process that TestVectorsTaken watches: it opens a file,
// has a program run that makes more vectors than there is room for, and opens it again.
func TestVectorsHelper(t *testing.T) {
	dir := os.Getenv("BAILIFF_TEST_VECTORS")
	if dir == "" {
		t.Skip("for TestVectorsTaken")
	}
	open := func() {
		fd, err := unix.Open(filepath.Join(dir, "file"), unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	open()
	if err := exec.Command(filepath.Join(dir, "spawner")).Run(); err != nil {
		t.Fatal(err)
	}
	open()
}

// TestVectorsTaken: a process whose vector had to give way to newer ones is judged as
// before.
func TestVectorsTaken(t *testing.T) {
	w := newWorld(t, Options{})
	dir := t.TempDir()
	exit := exitProgram(t, filepath.Join(dir, "exit"))
	path := exitProgram(t, filepath.Join(dir, "file"))
	if err := harness.WriteProgram(filepath.Join(dir, "spawner"), harness.SpawnProgram(exit, 5000)); err != nil {
		t.Fatal(err)
	}
	alert := func(id, path string, uid uint64) ir.Rule {
		return ir.Rule{Ref: event.RuleRef{ID: id}, Verdict: event.VerdictAlert, Clauses: []ir.Clause{{When: []ir.Cond{
			{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{path}},
			// A condition on who acts, so that there is a vector, and on the file, so
			// that the answer is not kept.
			{Field: event.FieldUID, Op: ir.OpIn, Nums: []uint64{uid}},
			{Field: event.FieldOwner, Op: ir.OpIn, Nums: []uint64{0}},
		}}}}
	}
	w.enforce(&ir.Program{Revision: "test", Rules: map[event.Hook][]ir.Rule{
		event.HookOpen: {alert("test-open", path, 0)},
		// Of these vectors another clause is left than of those for opens.
		event.HookExec: {alert("test-nobody", "/no/such/program", 65534), alert("test-exec", "/no/such/program", 0)},
	}})
	w.runTest("TestVectorsHelper", "BAILIFF_TEST_VECTORS", dir)
	for i, ev := range w.events(event.HookOpen, 2) {
		if ev.Decision.Rule == nil || ev.Decision.Rule.ID != "test-open" {
			t.Errorf("open %d: not by the rule: %+v", i, ev.Decision)
		}
	}
	var at uint32
	var v kernelSubjectVec
	var taken int
	for it := w.k.coll.Maps["subject_vecs"].Iterate(); it.Next(&at, &v); {
		if v.Owner == 0 {
			t.Errorf("vector %d is nobody's: %d processes did not make as many", at, 5000)
			break
		}
		taken++
	}
	if taken == 0 {
		t.Error("there are no vectors")
	}
	if c, err := w.k.Counters(); err != nil || c["vector_lost"] != 0 || c["fail_open_tables"] != 0 {
		t.Errorf("%v, %v", c, err)
	}
}

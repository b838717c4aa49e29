package bpf

import (
	"path/filepath"
	"syscall"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// TestUnknownAncestor: where the kernel has no class of a program that is above a
// process, conditions on ancestors and on the nearest shell count as met whichever way
// they are put, and that is counted.
func TestUnknownAncestor(t *testing.T) {
	w := newWorld(t, Options{})
	prog := exitProgram(t, filepath.Join(t.TempDir(), "prog"))
	named := ir.Cond{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{prog}}
	none := []string{"/nowhere/sh"}
	for name, cond := range map[string]ir.Cond{
		"some":      {Field: event.FieldAncestors, Op: ir.OpIn, Strs: none},
		"all":       {Field: event.FieldAncestors, Op: ir.OpIn, Strs: none, Outside: true, Negated: true},
		"shell":     {Field: event.FieldShell, Op: ir.OpIn, Strs: none},
		"not shell": {Field: event.FieldShell, Op: ir.OpIn, Strs: []string{""}, Negated: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := w.in(t)
			p := denyExec(named, cond)
			p.Shells = none
			gen := w.enforce(p)
			if state, err := w.run(prog); err != nil {
				t.Fatalf("with all programs known: %v", state)
			}
			w.forgetClasses(gen)
			before := w.counter("fail_closed_exe")
			state, err := w.run(prog)
			if ws, ok := state.Sys().(syscall.WaitStatus); err == nil || !ok || ws.Signal() != syscall.SIGKILL {
				t.Errorf("with none known: %v", state)
			}
			if after := w.counter("fail_closed_exe"); after <= before {
				t.Errorf("counted %d, before that %d", after, before)
			}
		})
	}
}

// forgetClasses takes from a generation what it knows of programs.
func (w *world) forgetClasses(gen event.Generation) {
	w.t.Helper()
	m := w.k.gens[uint32(gen)].inner["exe_classes"]
	var ids []uint32
	var id uint32
	var class kernelExeClass
	it := m.Iterate()
	for it.Next(&id, &class) {
		ids = append(ids, id)
	}
	w.must(it.Err())
	for _, id := range ids {
		w.must(m.Delete(id))
	}
}

func (w *world) counter(name string) uint64 {
	w.t.Helper()
	c, err := w.k.Counters()
	w.must(err)
	return c[name]
}

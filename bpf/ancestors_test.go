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

// TestShellsBound: a shell is what a path of the list leads to, by whatever link it is
// reached, and gets no other name by that. Where nothing is yet, what will be.
func TestShellsBound(t *testing.T) {
	k := open(t)
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a", "b"} {
		exitProgram(t, at(name))
	}
	for _, err := range []error{os.Symlink("a", at("sh")), os.Link(at("a"), at("hard"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	p := denyExec(ir.Cond{Field: event.FieldShell, Op: ir.OpIn, Strs: []string{""}})
	p.Shells = []string{at("missing"), at("sh")}
	tables := compile(p)
	parent, err := identifyPath(dir, 0, k.identify)
	if err != nil {
		t.Fatal(err)
	}
	check := func(want ...string) {
		t.Helper()
		b, err := bind(&tables.tests, k.identify, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, name := range []string{"a", "b", "hard", "missing"} {
			id, err := identifyPath(at(name), 0, k.identify)
			if err != nil && name != "missing" {
				t.Fatal(err)
			}
			if b.isShell(id.Id, parent.Id, name) {
				got = append(got, name)
			}
			if names := b.names(id.Id, at("a")); name == "a" && len(names) != 1 {
				t.Errorf("names %v", names)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("shells %v, want %v", got, want)
		}
	}
	check("a", "hard", "missing")
	for _, err := range []error{os.Remove(at("sh")), os.Symlink("b", at("sh"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	check("b", "missing")
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

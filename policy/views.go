package policy

import (
	"slices"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// ancestorsField is the set of that one field.
var ancestorsField = func() (s fieldSet) {
	s.add(slices.IndexFunc(event.Fields, func(f event.Field) bool { return f.ID == event.FieldAncestors }))
	return s
}()

// view is one event with one name chosen for each object that may have several.
type view struct {
	e                 *event.Event
	exe, parent, file string
	shell             string
	above             []string // ancestors
}

// combinations is how many choices of names one event is judged under.
const combinations = 16

// views lists the choices of one name for each object that has several.
func views(e *event.Event) []view { return viewsFor(e, true) }

// viewsFor leaves out the choices of ancestors' names if nobody reads these.
func viewsFor(e *event.Event, ancestors bool) []view {
	p := &e.Process
	names, shell := p.AncestorNames, ir.ShellNames(p)
	if !ancestors {
		names = nil
	}
	if len(p.Exe.Names) <= 1 && len(p.Parent.Names) <= 1 && (e.File == nil || len(e.File.Names) <= 1) && names == nil && len(shell) == 1 {
		v := view{e: e, exe: onlyName(&p.Exe), parent: onlyName(&p.Parent), above: p.Ancestry, shell: p.Shell}
		if e.File != nil {
			v.file = onlyName(e.File)
		}
		return []view{v}
	}
	out := []view{{e: e, above: p.Ancestry}}
	choose := func(names []string, set func(*view, string)) {
		var next []view
		for _, v := range out {
			for _, n := range names {
				if len(next) < combinations {
					set(&v, n)
					next = append(next, v)
				}
			}
		}
		out = next
	}
	choose(ir.NamesOf(&e.Process.Exe), func(v *view, n string) { v.exe = n })
	choose(ir.NamesOf(&e.Process.Parent), func(v *view, n string) { v.parent = n })
	choose(shell, func(v *view, n string) { v.shell = n })
	if e.File != nil {
		choose(ir.NamesOf(e.File), func(v *view, n string) { v.file = n })
	}
	// At first the list has all names of all ancestors, so that what some ancestor is
	// needs no choice; the choices are for what each of them is.
	whole := out
	for _, above := range choices(names) {
		for _, v := range whole {
			if len(out) < combinations {
				v.above = above
				out = append(out, v)
			}
		}
	}
	return out
}

// choices lists the ways to choose one name of each program, as many as anybody asks
// for.
func choices(names [][]string) [][]string {
	if len(names) == 0 {
		return nil
	}
	out := [][]string{nil}
	for _, of := range names {
		var next [][]string
		for _, n := range of {
			for _, c := range out {
				if len(next) < combinations {
					next = append(next, append(slices.Clip(c), n))
				}
			}
		}
		out = next
	}
	return out
}

func onlyName(f *event.File) string {
	if len(f.Names) == 1 {
		return f.Names[0]
	}
	return f.Path
}

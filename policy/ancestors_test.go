package policy

import (
	"context"
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"github.com/open-policy-agent/opa/v1/topdown"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// TestAncestorsOfSeveralNames holds rules on one test of ancestors against OPA under
// each choice of their names. That some ancestor passes, or each one, holds if it
// does under some choice; that one does not, or none, only if it does under all.
func TestAncestorsOfSeveralNames(t *testing.T) {
	forms := []struct {
		rule string // about the test, of a
		all  bool
	}{
		{"some a in input.process.ancestors\n\t%s", false},
		{"every a in input.process.ancestors {\n\t\t%s\n\t}", false},
		{"some a in input.process.ancestors\n\tnot test%d(a)", true},
		{"every a in input.process.ancestors {\n\t\tnot test%d(a)\n\t}", true},
		{"not each%d", true},
		{"not any%d", true},
	}
	tests := []string{`a in {"/usr/bin/dash", "/bin/sh"}`, `a == "/usr/bin/dash"`, `startswith(a, "/usr/")`, `startswith(a, "/")`, `listed(a)`}
	text := "package bailiff.exec\n\nlisted(a) if a in {\"/bin/sh\", \"/sbin/init\"}\n\nlisted(a) if startswith(a, \"/opt/\")\n"
	for i, test := range tests {
		text += fmt.Sprintf("\ntest%d(a) if %s\n\neach%d if {\n\tevery a in input.process.ancestors {\n\t\t%s\n\t}\n}\n\nany%d if {\n\tsome a in input.process.ancestors\n\t%s\n}\n", i, test, i, test, i, test)
		for k, form := range forms {
			arg := any(test)
			if form.all {
				arg = i
			}
			text += fmt.Sprintf("\n# METADATA\n# custom: {id: t%d-%d}\ndeny contains \"x\" if {\n\tinput.file.path == \"/x\"\n\t%s\n}\n", i, k, fmt.Sprintf(form.rule, arg))
		}
	}
	p := mustLoad(t, text, "")
	r := newRand(1)
	h := p.hooks[event.HookExec]
	held, failed := map[string]int{}, map[string]int{}
	for range 400 {
		e := execOf("/x", 0)
		above(r, &e.Process)
		d, err := p.Decide(context.Background(), e)
		if err != nil {
			t.Fatal(err)
		}
		fired := []string{}
		if d.Rule != nil {
			fired = append(fired, d.Rule.ID)
		}
		for _, o := range d.Others {
			fired = append(fired, o.ID)
		}
		names := e.Process.AncestorNames
		if names == nil {
			for _, a := range e.Process.Ancestry {
				names = append(names, []string{a})
			}
		}
		lists := choices(names)
		if names == nil {
			lists = [][]string{nil}
		}
		ev := &evaluation{p: p, h: h, hook: e.Hook, ctx: context.Background(), cancel: topdown.NewCancel()}
		for i := range h.rules {
			id, of := h.rules[i].Ref.ID, 0
			for _, list := range lists {
				v := view{e: e, exe: e.Process.Exe.Path, parent: e.Process.Parent.Path, file: e.File.Path, above: list}
				ok, err := ev.rule(i, p.document.build(&v, everyField))
				if err != nil {
					t.Fatal(err)
				}
				if ok {
					of++
				}
			}
			var test, form int
			if _, err := fmt.Sscanf(id, "t%d-%d", &test, &form); err != nil {
				t.Fatal(err)
			}
			want := of > 0
			if forms[form].all {
				want = of == len(lists)
			}
			certain, maybe := p.program.Rules[event.HookExec][i].Holds(ir.KeyOf(e))
			if certain != want || maybe || slices.Contains(fired, id) != want {
				t.Fatalf("%s holds under %d of %d choices; lowered %v (maybe %v), Decide says %v\nancestors %v\n%s", id, of, len(lists), certain, maybe, fired, names, &p.program.Rules[event.HookExec][i].Clauses[0])
			}
			if want {
				held[id]++
			} else {
				failed[id]++
			}
		}
	}
	for i := range h.rules {
		if id := h.rules[i].Ref.ID; held[id] < 20 || failed[id] < 20 {
			t.Errorf("%s held %d times, failed %d times: the events do not reach it", id, held[id], failed[id])
		}
	}
}

// above gives a process up to three ancestors, some of several names.
func above(r *rand.Rand, p *event.Process) {
	programs := [][]string{{"/usr/bin/dash", "/bin/sh"}, {"/usr/bin/bash", "/bin/bash"}, {"/sbin/init"}, {"/opt/x/y"}, {"[0:5]/memfd:a"}, {"/usr/sbin/sshd"}}
	several := false
	var names [][]string
	for range r.Intn(4) {
		of := programs[r.Intn(len(programs))]
		if slices.ContainsFunc(names, func(o []string) bool { return o[0] == of[0] }) {
			continue
		}
		names, several = append(names, of), several || len(of) > 1
		p.Ancestry = append(p.Ancestry, of...)
	}
	if several {
		p.AncestorNames = names
	}
}

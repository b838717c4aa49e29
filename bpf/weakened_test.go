package bpf

import (
	"slices"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

func TestWeakenedRules(t *testing.T) {
	name := func(n string) ir.Rule {
		return ir.Rule{Verdict: event.VerdictDeny, Clauses: []ir.Clause{{When: []ir.Cond{
			{Field: event.FieldName, Op: ir.OpIn, Strs: []string{n}}}}}}
	}
	p := &ir.Program{Rules: map[event.Hook][]ir.Rule{event.HookExec: {name("nc"), name(strings.Repeat("x", 100))}}}
	got := compile(p).weakenedRules()
	if len(got) != 1 || !slices.Equal(got[event.HookExec], []int{1}) {
		t.Errorf("weakened: %v", got)
	}
}

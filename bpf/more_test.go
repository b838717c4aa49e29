package bpf

import (
	"slices"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// TestMoreJudged: programs of further hooks are wanted only if some rule judges
// what they see.
func TestMoreJudged(t *testing.T) {
	only := func(h ...uint64) ir.Rule {
		r := ir.Rule{Verdict: event.VerdictDeny, Clauses: []ir.Clause{{When: []ir.Cond{{Field: event.FieldName, Op: ir.OpIn, Strs: []string{"nc"}}}}}}
		if len(h) > 0 {
			r.Clauses[0].When = append(r.Clauses[0].When, ir.Cond{Field: event.FieldHook, Op: ir.OpIn, Nums: h})
		}
		return r
	}
	exec, mmap := uint64(event.HookExec), uint64(event.HookMmap)
	for _, tt := range []struct {
		name  string
		rules []ir.Rule
		want  []event.Hook
	}{
		{"none", nil, nil},
		{"never", []ir.Rule{{Verdict: event.VerdictDeny}}, nil},
		{"exec alone", []ir.Rule{only(exec)}, nil},
		{"one of both", []ir.Rule{only(exec), only()}, []event.Hook{event.HookMmap}},
		{"mmap alone", []ir.Rule{only(mmap)}, []event.Hook{event.HookMmap}},
	} {
		got := compile(&ir.Program{Rules: map[event.Hook][]ir.Rule{event.HookExec: tt.rules}}).moreJudged()
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestHookKeepsItsDimension: whatever else rules read, what limits them to some
// acts is not left to user space.
func TestHookKeepsItsDimension(t *testing.T) {
	var rules []ir.Rule
	for _, f := range []event.FieldID{event.FieldMode, event.FieldOwner, event.FieldGroup, event.FieldNlink, event.FieldFsMagic, event.FieldDirMode, event.FieldDirUID, event.FieldCgroupProcs} {
		rules = append(rules, ir.Rule{Verdict: event.VerdictDeny, Clauses: []ir.Clause{{When: []ir.Cond{{Field: f, Op: ir.OpIn, Nums: []uint64{7}}}}}})
	}
	rules = append(rules, ir.Rule{Verdict: event.VerdictDeny, Clauses: []ir.Clause{{When: []ir.Cond{{Field: event.FieldHook, Op: ir.OpIn, Nums: []uint64{uint64(event.HookExec)}}}}}})
	got := compile(&ir.Program{Rules: map[event.Hook][]ir.Rule{event.HookExec: rules}})
	if last := got.fitted[event.HookExec][len(rules)-1].Clauses[0]; last.Maybe || len(last.When) != 1 {
		t.Errorf("the rule on the hook became %v", last.String())
	}
	if len(got.weakened) != 1 {
		t.Errorf("weakened: %v", got.weakened)
	}
}

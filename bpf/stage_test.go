package bpf

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// bigProgram has n rules on one path each, and one on a set of m paths.
func bigProgram(n, m int) *ir.Program {
	var rules []ir.Rule
	for i := range n {
		rules = append(rules, ir.Rule{Verdict: event.VerdictDeny, Clauses: []ir.Clause{{When: []ir.Cond{
			{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{fmt.Sprintf("/opt/app%d/bin", i)}},
			{Field: event.FieldUID, Op: ir.OpLess, Nums: []uint64{uint64(1000 + i%7)}, Negated: true},
		}}}})
	}
	var set []string
	for i := range m {
		set = append(set, fmt.Sprintf("/srv/bad/%06d", i))
	}
	slices.Sort(set)
	if m > 0 {
		rules = append(rules, ir.Rule{Verdict: event.VerdictDeny, Clauses: []ir.Clause{{When: []ir.Cond{
			{Field: event.FieldPath, Op: ir.OpIn, Strs: set}}}}})
	}
	return &ir.Program{Revision: "big", Rules: map[event.Hook][]ir.Rule{event.HookExec: rules}}
}

func BenchmarkCompile(b *testing.B) {
	for _, size := range [][2]int{{10, 0}, {1000, 0}, {1000, 100_000}} {
		p := bigProgram(size[0], size[1])
		b.Run(fmt.Sprintf("rules=%d,set=%d", size[0], size[1]), func(b *testing.B) {
			for b.Loop() {
				compile(p)
			}
		})
	}
}

func BenchmarkStage(b *testing.B) {
	k := open(b)
	for _, size := range [][2]int{{10, 0}, {1000, 0}, {1000, 100_000}} {
		p := bigProgram(size[0], size[1])
		b.Run(fmt.Sprintf("rules=%d,set=%d", size[0], size[1]), func(b *testing.B) {
			for b.Loop() {
				gen, err := k.Stage(context.Background(), p)
				if err != nil {
					b.Fatal(err)
				}
				if err := k.Retire(gen); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

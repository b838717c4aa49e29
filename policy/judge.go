package policy

import (
	"context"
	"slices"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Judgement is what a bundle says about one act, as far as it matters when two
// bundles are compared.
type Judgement struct {
	Verdict event.Verdict
	Rule    *event.RuleRef // that decided; nil when the act is allowed
	Audit   bool           // a deny that never blocks
	Message string         // only if OPA was asked
	Asked   bool           // OPA was asked: the kernel form leaves it open
}

// Blocks reports whether enforce mode would refuse the act.
func (j *Judgement) Blocks() bool { return j.Verdict == event.VerdictDeny && !j.Audit }

// Judge answers as the agent would: from the kernel form where that is certain,
// which needs no OPA, else by Decide.
func (p *Policy) Judge(ctx context.Context, e *event.Event) (Judgement, error) {
	rules := p.program.Rules[e.Hook.Package()]
	if len(rules) == 0 {
		return Judgement{Verdict: event.VerdictAllow}, nil
	}
	r := p.program.Decide(e.Hook, ir.KeyOf(e))
	open := slices.ContainsFunc(r.Undecided, func(i int) bool { return r.Rule < 0 || i < r.Rule })
	if !open {
		j := Judgement{Verdict: r.Verdict}
		if r.Rule >= 0 {
			j.Rule, j.Audit = &rules[r.Rule].Ref, rules[r.Rule].Audit
		}
		return j, nil
	}
	d, err := p.Decide(ctx, e)
	if err != nil {
		return Judgement{}, err
	}
	j := Judgement{Verdict: d.Verdict, Rule: d.Rule, Message: d.Message, Asked: true}
	if d.Rule != nil {
		j.Audit = slices.ContainsFunc(rules, func(r ir.Rule) bool { return r.Ref.ID == d.Rule.ID && r.Audit })
	}
	return j, nil
}

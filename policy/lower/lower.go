package lower

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Lower turns rules, given in the order in which they win, into a program with
// one ir.Rule for each, and says of each part that stays in user space why. An
// error means that no answer was reached, not that a rule does not fit.
func Lower(ctx context.Context, src Source, rules []Rule, t Target) (*ir.Program, []Deferred, error) {
	big, err := bigData(ctx, src, t.Limits.BigData)
	if err != nil {
		return nil, nil, err
	}
	l := &lowerer{Source: src, target: t, big: big, zero: constants(t.Fields)}
	p := &ir.Program{Rules: map[event.Hook][]ir.Rule{}}
	total := map[event.Hook]int{}
	var all []Deferred
	for _, r := range rules {
		lowered, deferred, err := l.rule(ctx, r)
		if err != nil {
			return nil, nil, fmt.Errorf("lower rule %s: %w", r.Ref.ID, err)
		}
		before := total[r.Hook]
		total[r.Hook] += len(lowered.Clauses)
		if max := t.Limits.ClausesPerHook; before <= max && total[r.Hook] > max {
			deferred = append(deferred, whole(&r, CodeHookFull, Error, fmt.Sprintf("the rules of %s have more than %d clauses", r.Hook, max)))
		}
		p.Rules[r.Hook] = append(p.Rules[r.Hook], lowered)
		all = append(all, deferred...)
	}
	if err := p.Validate(); err != nil {
		return nil, nil, err // a fault of this package, caught before it reaches a kernel
	}
	return p, all, nil
}

func (l *lowerer) rule(ctx context.Context, r Rule) (ir.Rule, []Deferred, error) {
	t := &translator{lowerer: l, ctx: ctx, hook: r.Hook, found: new(findings)}
	f, err := t.lowerBody(r.Rego.Body)
	if err != nil {
		return ir.Rule{}, nil, err
	}
	out := ir.Rule{
		Ref: r.Ref, Verdict: r.Verdict, Audit: r.Audit, Kill: r.Kill, Undecided: r.Undecided,
		Clauses: clauses(f, l.target.Limits.ClausesPerRule),
	}
	unknown := notAtGate(&out)
	out.Hold = r.Hold && len(unknown) == 0
	class := ClassOf(&out)
	deferred := append(t.found.list, parts(f)...)
	maybe := slices.ContainsFunc(out.Clauses, func(c ir.Clause) bool { return c.Maybe })
	switch {
	case class == ClassAlways && !r.Always:
		deferred = append(deferred, whole(&r, CodeAlways, Error, fmt.Sprintf("the rule holds for every %s", r.Hook)))
	case class == ClassNever:
		deferred = append(deferred, whole(&r, CodeNever, Warn, fmt.Sprintf("the rule can never hold for %s", r.Hook)))
	case maybe && len(parts(f)) == 0:
		deferred = append(deferred, whole(&r, CodeAlternatives, Info, fmt.Sprintf("the rule has more than %d alternatives", l.target.Limits.ClausesPerRule)))
	}
	if r.Hold && !out.Hold {
		deferred = append(deferred, whole(&r, CodeNotHeld, Warn, fmt.Sprintf("no exec can be held for it: %s not known when the file is opened", are(unknown))))
	}
	if r.Verdict == event.VerdictDeny && t.untrusted(r.Rego.Body) {
		deferred = append(deferred, whole(&r, CodeUntrusted, Warn, "the rule rests only on what the process itself can write"))
	}
	for i := range deferred {
		deferred[i].Rule, deferred[i].Class = r.Ref, class
	}
	return out, deduplicate(deferred), nil
}

// notAtGate lists what user space needs for a rule and has not when an exec is
// held.
func notAtGate(r *ir.Rule) []string {
	var out []string
	for i := range r.Clauses {
		for _, f := range r.Clauses[i].Reads {
			if f == "input" || slices.Contains(event.NotAtGate, f) {
				out = append(out, f)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func are(fields []string) string {
	s := strings.Join(fields, ", ")
	if len(fields) == 1 {
		return s + " is"
	}
	return s + " are"
}

func whole(r *Rule, code Code, s Severity, why string) Deferred {
	return Deferred{Code: code, Severity: s, File: r.Ref.File, Line: r.Ref.Line, Col: 1, Rule: r.Ref, Why: why, Hint: hints[code]}
}

// parts lists what the kernel does not decide.
func parts(f formula) []Deferred {
	var out []Deferred
	leaves(f, func(l formula) {
		u, ok := l.(*unknown)
		if !ok {
			return
		}
		d := Deferred{Code: u.code, Severity: Info, Expr: u.expr, Why: u.why, Hint: hints[u.code], Fields: u.fields}
		if u.at != nil {
			d.File, d.Line, d.Col = within(u.at.File), u.at.Row, u.at.Col
		}
		out = append(out, d)
	})
	return out
}

func deduplicate(list []Deferred) []Deferred {
	var out []Deferred
	for _, d := range list {
		if !slices.ContainsFunc(out, func(o Deferred) bool {
			return o.Code == d.Code && o.File == d.File && o.Line == d.Line && o.Why == d.Why
		}) {
			out = append(out, d)
		}
	}
	return out
}

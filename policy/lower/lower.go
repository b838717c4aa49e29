package lower

import (
	"context"
	"fmt"
	"maps"
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
	t.Fields = withNames(t.Fields, src.Identities)
	l := &lowerer{Source: src, target: t, big: big, vars: map[string]bool{}, patterns: map[string]error{}, zero: constants(t.Fields)}
	p := &ir.Program{Rules: map[event.Hook][]ir.Rule{}, Identities: src.Identities, Shells: src.Shells}
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
	p.Env = slices.Sorted(maps.Keys(l.vars))
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
	l.byName(out.Clauses)
	out.Clauses = judged(&r, out.Clauses)
	unknown := reads(&out, append([]string{"input"}, event.NotAtGate...))
	out.Hold = r.Hold && len(unknown) == 0
	for i := range out.Clauses {
		if c := &out.Clauses[i]; c.Maybe && out.Held() {
			*c = c.WithoutGiven()
		}
	}
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
	if only := reads(&out, event.OnlyAtGate); !out.Held() {
		deferred = append(deferred, l.onlyAtGate(&r, only)...)
	}
	if r.Verdict == event.VerdictDeny && t.untrusted(r.Rego.Body) {
		deferred = append(deferred, whole(&r, CodeUntrusted, Warn, "the rule rests only on what the process itself can write"))
	}
	for i := range deferred {
		deferred[i].Rule, deferred[i].Class = r.Ref, class
	}
	return out, deduplicate(deferred), nil
}

// onlyAtGate says of a rule for which no exec is held what it reads that not all
// kernels know.
func (l *lowerer) onlyAtGate(r *Rule, fields []string) []Deferred {
	var some, none []string
	for _, f := range fields {
		if l.target.Has(f) {
			some = append(some, f)
		} else {
			none = append(none, f)
		}
	}
	var out []Deferred
	if len(some) > 0 {
		out = append(out, whole(r, CodeOnlySome, Warn, fmt.Sprintf("%s known only on some kernels, and no exec is held for this rule: elsewhere the bundle is refused", are(some))))
	}
	if len(none) > 0 {
		out = append(out, whole(r, CodeOnlyHeld, Error, fmt.Sprintf("%s known only while an exec is held, and none is for this rule", are(none))))
	}
	return out
}

// judged limits clauses to the hooks that the rule judges. One on exec that does
// not say so judges mappings only if every clause names the file: what names
// only who acts, or says which files are allowed, would hold for every library.
// One that reads arguments says nothing about mappings, which have none.
func judged(r *Rule, clauses []ir.Clause) []ir.Clause {
	hooks := r.Hooks
	if len(hooks) == 0 && r.Hook == event.HookExec && slices.ContainsFunc(clauses, func(c ir.Clause) bool { return !ofMapping(&c) }) {
		hooks = []event.Hook{event.HookExec}
	}
	if len(hooks) == 0 || slices.Contains(hooks, event.HookMmap) {
		clauses = withoutTexts(clauses)
	}
	if len(hooks) == 0 || len(hooks) == len(r.Hook.Hooks()) {
		return clauses
	}
	only := ir.Cond{Field: event.FieldHook, Op: ir.OpIn}
	for _, h := range hooks {
		only.Nums = append(only.Nums, uint64(h))
	}
	slices.Sort(only.Nums)
	for i := range clauses {
		if !slices.ContainsFunc(clauses[i].When, func(w ir.Cond) bool { return w.Field == only.Field && slices.Equal(w.Nums, only.Nums) && !w.Negated }) {
			clauses[i].When = append(slices.Clip(clauses[i].When), only)
		}
	}
	return clauses
}

// withoutTexts splits clauses that wait for the new image: a mapping has none, and
// is judged as if it had neither arguments nor environment.
func withoutTexts(clauses []ir.Clause) []ir.Clause {
	is := func(h event.Hook) ir.Cond {
		return ir.Cond{Field: event.FieldHook, Op: ir.OpIn, Nums: []uint64{uint64(h)}}
	}
	var mapped []ir.Clause
	for i, c := range clauses {
		if !c.AtCommit() {
			continue
		}
		ofImage := func(w ir.Cond) bool { return event.FieldByID(w.Field).Part == event.PartCommit }
		if !slices.ContainsFunc(c.When, func(w ir.Cond) bool { return ofImage(w) && !w.Holds(&ir.Key{}) }) {
			m := c
			m.When = append(slices.DeleteFunc(slices.Clone(c.When), ofImage), is(event.HookMmap))
			mapped = append(mapped, m)
		}
		clauses[i].When = append(slices.Clip(c.When), is(event.HookExec))
	}
	return append(clauses, mapped...)
}

// ofMapping: the clause holds only for files with certain names, and reads
// nothing that only an exec has.
func ofMapping(c *ir.Clause) bool {
	named := false
	var reads []event.Field
	for _, w := range c.When {
		named = named || !w.Negated && (w.Field == event.FieldPath || w.Field == event.FieldName || w.Field == event.FieldIdentities)
		reads = append(reads, event.FieldByID(w.Field))
	}
	for _, path := range c.Reads {
		if f, ok := event.FieldByPath(path); ok {
			reads = append(reads, f)
		}
	}
	return named && !slices.ContainsFunc(reads, func(f event.Field) bool { return !slices.Contains(f.Hooks, event.HookMmap) })
}

// reads lists those of the fields that user space needs for a rule.
func reads(r *ir.Rule, fields []string) []string {
	var out []string
	for i := range r.Clauses {
		// Whole clauses too: one that finds no room in the kernel is asked about.
		all := slices.Clone(r.Clauses[i].Reads)
		for _, c := range r.Clauses[i].When {
			all = append(all, event.FieldByID(c.Field).Path)
		}
		for _, f := range all {
			if slices.Contains(fields, f) {
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

package ir

import (
	"cmp"
	"slices"

	"example.com/bailiff/internal/event"
)

// WithModes returns the program with the operator's modes for rules, by id, in
// place of what the annotations say. Alert rules have none. Without any it is
// the same program.
func (p *Program) WithModes(modes map[string]event.Mode) *Program {
	if len(modes) == 0 {
		return p
	}
	out := &Program{Revision: p.Revision, Env: p.Env, Rules: map[event.Hook][]Rule{}}
	for h, rules := range p.Rules {
		rules = slices.Clone(rules)
		for i := range rules {
			if m, ok := modes[rules[i].Ref.ID]; ok && rules[i].Verdict == event.VerdictDeny {
				rules[i].Audit, rules[i].Enforce = m == event.ModeAudit, m == event.ModeEnforce
			}
		}
		slices.SortStableFunc(rules, func(a, b Rule) int { return cmp.Compare(rank(&a), rank(&b)) })
		out.Rules[h] = rules
	}
	return out
}

// Wins reports whether the rule is of a kind that wins over that of the other.
func (r *Rule) Wins(other *Rule) bool { return rank(r) < rank(other) }

// rank is the order in which rules win.
func rank(r *Rule) int {
	switch {
	case r.Verdict == event.VerdictAlert:
		return 3
	case r.Audit:
		return 2
	case r.Enforce:
		return 0
	}
	return 1
}

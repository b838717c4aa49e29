package enforcer

import (
	"slices"

	"example.com/bailiff/internal/event"
)

// deferredPart takes from a whole answer what the deferred rules said: this is
// all that the decision key determines, and all that may be stored under it.
// ok is false if the answer names a rule that the program does not have; then
// nothing may be concluded.
func (in *installed) deferredPart(h event.Hook, whole *event.Decision) (part *answer, ok bool) {
	return in.partOf(h, whole, func(r knownRule) bool { return r.deferred })
}

// keptPart is what of a whole answer the kernel keeps after an act: held rules
// have their answers from the gate, under a key of their own.
func (in *installed) keptPart(h event.Hook, whole *event.Decision) (part *answer, ok bool) {
	return in.partOf(h, whole, func(r knownRule) bool { return r.deferred && !r.Held() })
}

func (in *installed) isHeld(h event.Hook, ref *event.RuleRef) bool {
	r, ok := in.known[keyOfRule(h, ref)]
	return ok && r.Held()
}

func (in *installed) partOf(h event.Hook, whole *event.Decision, want func(knownRule) bool) (part *answer, ok bool) {
	part = &answer{verdict: event.VerdictAllow}
	type fired struct {
		ref *event.RuleRef
		r   knownRule
	}
	var rules []fired
	for _, ref := range firedRules(whole) {
		r, ok := in.known[keyOfRule(h, ref)]
		if !ok {
			return nil, false
		}
		if want(r) {
			rules = append(rules, fired{ref, r})
		}
	}
	slices.SortFunc(rules, func(a, b fired) int { return a.r.order - b.r.order })
	for i, f := range rules {
		if i > 0 {
			part.others = append(part.others, *f.ref)
			continue
		}
		part.verdict, part.rule, part.mixed = f.r.Verdict, f.ref, f.r.mixed
		part.blocks = f.r.Verdict == event.VerdictDeny && !f.r.Audit
		part.kill = part.blocks && f.r.Kill
		part.enforced = part.blocks && f.r.Enforce
	}
	return part, true
}

// firedRules lists the rules that an answer names, the deciding one first.
func firedRules(d *event.Decision) []*event.RuleRef {
	var out []*event.RuleRef
	if d.Rule != nil {
		out = append(out, d.Rule)
	}
	for i := range d.Others {
		out = append(out, &d.Others[i])
	}
	return out
}

// diverges compares what the kernel decided about an act with the whole answer
// of the policy. It returns what is wrong, "" if nothing is.
func (in *installed) diverges(ev *event.Event, whole *event.Decision) string {
	d := &ev.Decision
	if d.Source == event.SourceDefault && d.Verdict == event.VerdictDeny {
		return "" // no verdict, but what the rule wants while there is none
	}
	fired := firedRules(whole)
	// What the kernel decided must be among what the policy decides. A stored
	// verdict names no rule, only the first one that it may be of.
	switch {
	case d.Verdict != event.VerdictDeny && d.Verdict != event.VerdictAlert:
	case d.Source == event.SourceGate:
		// The gate answered for the held rules alone, and the rule that the event
		// names is only the first of them that may hold.
		if !slices.ContainsFunc(fired, func(r *event.RuleRef) bool { return in.isHeld(ev.Hook, r) }) {
			return "the gate refused, no held rule holds"
		}
	case d.Source == event.SourceCache || d.Rule == nil:
		if whole.Verdict != d.Verdict {
			return "the kernel's stored verdict is " + d.Verdict.String() + ", the policy's is " + whole.Verdict.String()
		}
	default:
		key := keyOfRule(ev.Hook, d.Rule)
		if !slices.ContainsFunc(fired, func(r *event.RuleRef) bool { return keyOfRule(ev.Hook, r) == key }) {
			return "the kernel's rule " + d.Rule.ID + " does not hold"
		}
	}
	// What the policy decides beyond it, the kernel must have left open: it
	// leaves open what stands behind an undecided rule in the order, never a
	// certain deny that blocks.
	for _, ref := range fired {
		r, ok := in.known[keyOfRule(ev.Hook, ref)]
		switch {
		case !ok:
			return "the policy names rule " + ref.ID + ", which the kernel's program does not have"
		case r.Verdict <= d.Verdict:
		case d.Undecided && (r.deferred || r.Audit || r.Verdict != event.VerdictDeny):
		default:
			return "rule " + ref.ID + " holds, the kernel missed it"
		}
	}
	return ""
}

package ocsf

import (
	"example.com/bailiff/internal/event"
)

// judged reports whether somebody was asked: else nothing is said about control.
func (r *record) judged() bool {
	d := &r.e.Decision
	return d.Verdict != event.VerdictNone || d.FailOpen != "" || d.Undecided
}

// blocked reports whether the act did not take place: refused, or an exec that
// was killed before its first instruction.
func blocked(e *event.Event) bool {
	d := &e.Decision
	return d.Effect == event.EffectRefused || d.Effect == event.EffectKilled && e.Hook == event.HookExec && !d.Late
}

// outcome is action and disposition of an act.
func outcome(e *event.Event) (action, disposition int) {
	const allowed, denied, observed = 1, 2, 3
	d := &e.Decision
	switch {
	case blocked(e):
		return denied, 2
	case d.Effect == event.EffectKilled: // the act took place, its doer is gone
		return denied, 7
	case d.Verdict == event.VerdictDeny:
		return observed, 15
	case d.Verdict == event.VerdictAlert:
		return observed, 19
	case d.FailOpen != "":
		return allowed, 27
	case d.Undecided || d.Effect == event.EffectHeld:
		return allowed, 14
	}
	return allowed, 1
}

var actionNames = map[int]string{1: "Allowed", 2: "Denied", 3: "Observed"}

var dispositionNames = map[int]string{
	1: "Allowed", 2: "Blocked", 7: "Custom Action", 14: "Delayed", 15: "Detected", 19: "Alert", 27: "Error",
}

// control writes action and disposition.
func (r *record) control() {
	action, disposition := outcome(r.e)
	if action == 3 && !r.v18() {
		action = 1
	}
	r.Int("action_id", int64(action))
	r.Str("action", actionNames[action])
	r.Int("disposition_id", int64(disposition))
	r.Str("disposition", dispositionNames[disposition])
}

// security writes the profile security_control.
func (r *record) security() {
	d := &r.e.Decision
	r.control()
	if r.v18() {
		r.Bool("is_alert", d.Verdict >= event.VerdictAlert || d.FailOpen != "" || d.Divergence)
		if d.Rule != nil {
			r.policy()
		}
	}
	if d.Rule != nil {
		r.attacks(d.Rule.Attack)
	}
}

// policy writes the rule that decided.
func (r *record) policy() {
	d := &r.e.Decision
	r.Object("policy")
	r.Str("uid", d.Rule.ID)
	name := d.Rule.Title
	if name == "" {
		name = d.Rule.ID
	}
	r.Str("name", name)
	r.Opt("version", d.Revision)
	r.Opt("desc", d.Message)
	if r.v18() {
		r.Str("type", "Rego rule")
		r.Bool("is_applied", d.Effect == event.EffectRefused || d.Effect == event.EffectKilled || d.Verdict != event.VerdictDeny)
	}
	r.End()
}

// authorizations is where 1.1 has the rule.
func (r *record) authorizations() {
	r.Array("authorizations")
	r.Object("")
	r.Str("decision", r.it.Verdict())
	r.policy()
	r.End()
	r.EndArray()
}

// attacks writes techniques of MITRE ATT&CK; "T1059.004" is one of T1059.
func (r *record) attacks(ids []string) {
	if len(ids) == 0 {
		return
	}
	r.Array("attacks")
	for _, id := range ids {
		r.Object("")
		technique := id
		for i := range id {
			if id[i] == '.' {
				technique = id[:i]
			}
		}
		r.Object("technique")
		r.Str("uid", technique)
		r.End()
		if technique != id && r.v18() {
			r.Object("sub_technique")
			r.Str("uid", id)
			r.End()
		}
		r.End()
	}
	r.EndArray()
}

package enforcer

import (
	"slices"
	"strings"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// finish waits for a task, within its deadline, and completes the event.
func (e *Enforcer) finish(it item, timer *time.Timer) {
	t := it.t
	if reason, late := e.await(t, timer); late {
		// If the worker was faster its result is about to be there.
		if t.state.CompareAndSwap(taskOpen, taskGivenUp) {
			res := t.withoutAnswer(reason)
			e.apply(it.ev, t.in, &res)
			return
		}
		<-t.done
	}
	e.apply(it.ev, t.in, &t.res)
}

// await blocks until the task is done, its deadline has passed or the pipeline
// is half full; late says that it is not done, and why it is waited for no longer.
func (e *Enforcer) await(t *task, timer *time.Timer) (reason counter, late bool) {
	select {
	case <-t.done:
		return 0, false
	default:
	}
	timer.Reset(time.Until(t.deadline)) // since Go 1.23 no stale tick is left behind
	defer timer.Stop()
	for len(e.order) < e.behindAt {
		select {
		case <-t.done:
			return 0, false
		case <-timer.C:
			return cntOpenDeadline, true
		case <-e.hurry:
		}
	}
	return cntOpenBehind, true
}

// apply writes a result into the event's decision.
func (e *Enforcer) apply(ev *event.Event, in *installed, res *result) {
	d := &ev.Decision
	if res.whole == nil && res.part == nil {
		e.unanswered(ev, res.reason)
		return
	}
	if res.whole != nil {
		d.Message = res.whole.Message
		e.checkDivergence(ev, in, res.whole)
	}
	switch {
	case d.Undecided && d.Verdict != event.VerdictDeny && e.judged(d, res):
	case res.whole != nil && !d.Divergence:
		e.explain(d, res.whole)
	}
	titleAsMessage(d)
}

// judged writes a late verdict. It returns false where the kernel's own alert
// stands.
func (e *Enforcer) judged(d *event.Decision, res *result) bool {
	var v event.Verdict
	var rule *event.RuleRef
	var others []event.RuleRef
	if res.whole != nil {
		v, rule, others = res.whole.Verdict, res.whole.Rule, res.whole.Others
	} else {
		v, rule, others = res.part.verdict, res.part.rule, res.part.others
	}
	if d.Verdict == event.VerdictAlert && v <= event.VerdictAlert {
		return false
	}
	d.Verdict, d.Rule, d.Others = v, rule, others
	d.Source, d.Late = event.SourceEngine, true
	if res.effect != event.EffectNone {
		d.Effect = res.effect
	}
	return true
}

// explain adds to a decision that was taken in the kernel what only the policy
// can say: the rule behind a stored verdict, and which other rules hold.
func (e *Enforcer) explain(d *event.Decision, whole *event.Decision) {
	if d.Source == event.SourceDefault && d.Commit && whole.Verdict != event.VerdictDeny {
		d.Message = "conditions on arguments or environment counted as met because not all could be seen; of what is on record the policy says " + whole.Verdict.String()
		return
	}
	if d.Source == event.SourceDefault && whole.Verdict != event.VerdictDeny {
		d.Message = "refused because it was not decided in time; the policy's answer is " + whole.Verdict.String()
		return
	}
	if d.Rule == nil || d.Source == event.SourceCache || d.Source == event.SourceGate {
		d.Rule, d.Others = whole.Rule, whole.Others
		return
	}
	d.Others = nil
	for _, r := range firedRules(whole) {
		if keyOfRule(0, r) != keyOfRule(0, d.Rule) {
			d.Others = append(d.Others, *r)
		}
	}
}

// unanswered records that the policy could not be asked. Only an act that
// passed is a fail-open: what the kernel refused stays refused.
func (e *Enforcer) unanswered(ev *event.Event, reason counter) {
	d := &ev.Decision
	if d.Undecided && d.Verdict != event.VerdictDeny {
		e.counts.add(reason)
		if d.FailOpen == "" {
			d.FailOpen = strings.TrimPrefix(counterNames[reason], "fail_open_")
		}
	} else {
		e.counts.add(cntUnchecked)
		if reason == cntOpenDigest {
			d.Message = "refused because the digest of the file is not known"
		}
	}
	titleAsMessage(d)
}

// titleAsMessage keeps a decision readable where the policy's own message is
// not to be had.
func titleAsMessage(d *event.Decision) {
	if d.Message == "" && d.Rule != nil {
		d.Message = d.Rule.Title
	}
}

// cutShort: a rule on arguments or environment was decided, of which the record
// does not hold all.
func (in *installed) cutShort(ev *event.Event, whole *event.Decision) bool {
	if ev.Exec == nil || !ev.Exec.ArgsCut && !ev.Exec.EnvCut && len(ev.Exec.EnvAgain) == 0 {
		return false
	}
	return in.fires(ev, whole, func(c *ir.Clause) bool { return c.AtCommit() })
}

// tooFar: a rule that either of them says fires rests on ancestors, and the kernel has
// known more of these than the record lists.
func (in *installed) tooFar(ev *event.Event, whole *event.Decision) bool {
	return ev.Process.AncestorsCut && in.fires(ev, whole, func(c *ir.Clause) bool {
		return slices.ContainsFunc(c.When, func(w ir.Cond) bool { return w.Field == event.FieldAncestors })
	})
}

// fires reports whether a rule fires, as the kernel says or the policy does, that has
// such a clause.
func (in *installed) fires(ev *event.Event, whole *event.Decision, clause func(*ir.Clause) bool) bool {
	return slices.ContainsFunc(append(firedRules(whole), firedRules(&ev.Decision)...), func(r *event.RuleRef) bool {
		known, ok := in.known[keyOfRule(ev.Hook, r)]
		return ok && slices.ContainsFunc(known.Clauses, func(c ir.Clause) bool { return clause(&c) })
	})
}

// unsettled reports whether the kernel has denied what the policy does not while the
// files that the policy names were becoming others: of a directory that has just been
// moved the kernel knows which it is, and the record only where it is.
func (e *Enforcer) unsettled(ev *event.Event, whole *event.Decision) bool {
	s, ok := e.Kernel.(Settler)
	return ok && whole.Verdict < ev.Decision.Verdict && !s.Settled(ev.Boot)
}

func (e *Enforcer) checkDivergence(ev *event.Event, in *installed, whole *event.Decision) {
	why := in.diverges(ev, whole)
	if why == "" {
		return
	}
	if ev.Rebound || ev.File != nil && ev.File.Unresolved || in.cutShort(ev, whole) || in.tooFar(ev, whole) || e.unsettled(ev, whole) {
		// The names are not those that the kernel went by, or may not be. Or: the path is too long for the record: the kernel judged the file by
		// its identity, the policy can only count conditions on it as met. Or: the
		// kernel has looked at more of the arguments, or of the ancestors, than the
		// record holds.
		e.counts.add(cntNotComparable)
		return
	}
	ev.Decision.Divergence, ev.Decision.Message = true, why
	e.counts.add(cntDivergences)
	e.log.Error("kernel and policy disagree", "hook", ev.Hook.String(), "revision", in.revision, "reason", why)
	e.Raise(CondDivergence, "revision "+in.revision+": "+why)
}

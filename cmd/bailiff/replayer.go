package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/recorded"
	"example.com/bailiff/policy"
)

// replayer judges acts and keeps the differences.
type replayer struct {
	next, old *policy.Policy // old nil: the record
	out       *replayed
	changes   map[changeKey]*change
}

type changeKey struct {
	kind, oldRule, newRule, exe string
	hook                        event.Hook
	old, new                    event.Verdict
}

const maxExamples = 3

// act judges one act by both.
func (r *replayer) act(ctx context.Context, e *event.Event) error {
	j, err := r.next.Judge(ctx, e)
	if err != nil {
		return err
	}
	now := sideOf(&j)
	was := side{Verdict: e.Decision.Verdict}
	if e.Decision.Rule != nil {
		was.Rule = e.Decision.Rule.ID
	}
	if r.old != nil {
		o, err := r.old.Judge(ctx, e)
		if err != nil {
			return err
		}
		if r.same(r.old, e) {
			r.disagree(e, was, &o)
		}
		was = sideOf(&o)
	}
	if j.Asked {
		r.out.Asked++
		if len(recorded.Limits(e)) > 0 {
			r.out.Unsure++
		}
	}
	kind := kindOf(was, now)
	switch {
	case kind == "same":
	case r.old == nil && r.same(r.next, e): // the bundle is not what has changed
		r.disagree(e, was, &j)
		return nil
	default:
		r.note(kind, e, was, now, &j)
	}
	r.out.Totals[kind]++
	return nil
}

// same: this bundle judged the act when it happened.
func (r *replayer) same(p *policy.Policy, e *event.Event) bool {
	return e.Decision.Verdict != event.VerdictNone && e.Decision.Revision == p.Revision()
}

func (r *replayer) disagree(e *event.Event, was side, j *policy.Judgement) {
	now := sideOf(j)
	if kindOf(was, now) == "same" {
		return
	}
	r.out.Totals["disagrees"]++
	c := r.note("disagrees", e, was, now, j)
	if why := undecidedThen(&e.Decision); why != "" && !slices.Contains(c.Unsure, why) {
		c.Unsure = append(c.Unsure, why)
	}
}

// undecidedThen: the verdict of the record was taken without the whole policy.
func undecidedThen(d *event.Decision) string {
	switch {
	case d.FailOpen != "":
		return "the act passed unjudged: " + d.FailOpen
	case d.Undecided:
		return "a rule had no verdict in time"
	case d.Divergence:
		return "kernel and OPA disagreed then, too"
	}
	return ""
}

func sideOf(j *policy.Judgement) side {
	s := side{Verdict: j.Verdict, Audit: j.Audit}
	if j.Rule != nil {
		s.Rule = j.Rule.ID
	}
	return s
}

// kindOf compares. Nobody asked and allowed are the same: the act passed.
func kindOf(was, now side) string {
	switch {
	case now.Verdict == event.VerdictDeny && was.Verdict != event.VerdictDeny:
		return "newly-denied"
	case was.Verdict == event.VerdictDeny && now.Verdict != event.VerdictDeny:
		return "no-longer-denied"
	case now.Verdict == event.VerdictAlert && was.Verdict != event.VerdictAlert:
		return "newly-alerted"
	case was.Verdict == event.VerdictAlert && now.Verdict != event.VerdictAlert:
		return "no-longer-alerted"
	case was.Rule != now.Rule:
		return "other-rule"
	}
	return "same"
}

func (r *replayer) note(kind string, e *event.Event, was, now side, j *policy.Judgement) *change {
	k := changeKey{kind, was.Rule, now.Rule, e.Process.Exe.Path, e.Hook, was.Verdict, now.Verdict}
	c := r.changes[k]
	if c == nil {
		c = &change{Kind: kind, Hook: e.Hook, Old: was, New: now, Exe: k.exe}
		r.changes[k] = c
	}
	c.Count++
	if e.Decision.Verdict == event.VerdictNone {
		c.Unjudged++
	}
	for _, why := range recorded.Limits(e) {
		if j.Asked && !slices.Contains(c.Unsure, why) {
			c.Unsure = append(c.Unsure, why)
		}
	}
	if len(c.Examples) < maxExamples {
		c.Examples = append(c.Examples, example{Seq: e.Seq, Time: e.Time, PID: e.Process.PID, Object: object(e), Cgroup: e.Process.Cgroup, Text: j.Message})
	}
	return c
}

func (r *replayer) finish(s *summary, took time.Duration, failOn []string) {
	o := r.out
	o.Recording = s
	o.Seconds = took.Seconds()
	o.PerSecond = float64(s.Events) / max(took.Seconds(), 1e-9)
	for _, c := range r.changes {
		if c.Kind == "disagrees" {
			o.Disagrees = append(o.Disagrees, c)
		} else {
			o.Changes = append(o.Changes, c)
		}
	}
	byKind := func(a, b *change) int {
		if d := slices.Index(failures, a.Kind) - slices.Index(failures, b.Kind); d != 0 {
			return d
		}
		if a.Count != b.Count {
			return int(b.Count) - int(a.Count)
		}
		return strings.Compare(a.Exe+a.New.Rule+a.Old.Rule, b.Exe+b.New.Rule+b.Old.Rule)
	}
	slices.SortFunc(o.Changes, byKind)
	slices.SortFunc(o.Disagrees, byKind)
	for _, kind := range failOn {
		if o.Totals[kind] > 0 || kind == "lost" && (s.Lost > 0 || s.AtLeast) {
			o.failingKind = kind
			return
		}
	}
}

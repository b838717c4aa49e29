package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/bailiff/bpf"
	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/rollout"
	"example.com/bailiff/internal/server"
)

// SetMode implements server.Agent.
func (a *agent) SetMode(ctx context.Context, c server.ModeChange, by string) (done server.ModeChanged, err error) {
	a.reload.Lock()
	defer a.reload.Unlock()
	target, setting, err := a.resolve(&c)
	if err != nil {
		return done, err
	}
	was, wasWanted, withheld, policy := target.Get(a.Modes()), target.Get(a.bundle.wanted), a.bundle.withheld, a.policyInForce()
	next := a.Modes().Clone()
	target.Set(&next, setting)
	if setting.Mode != nil {
		if err := a.mayEnforce(*setting.Mode); err != nil {
			return done, err
		}
	}
	if err := a.mayTry(c.Confirm); err != nil {
		return done, err
	}
	before := a.Modes()
	if err := a.guard(ctx, policy, next, &before, c.Force, by); err != nil {
		return done, err
	}
	done.Text = settingText(target, setting, was)
	if was.Mode != nil {
		done.Previous, done.HadPrevious = *was.Mode, true
	}
	if err := a.changeMode(ctx, target, setting, done.Text, by); err != nil {
		return done, err
	}
	a.want(target, setting)
	// Who insists on a mode for all insists on all that was withheld.
	if err := a.settle(ctx, c.Force && target == (rollout.Target{}), by); err != nil {
		return done, err
	}
	if withheld && !a.bundle.withheld && target != (rollout.Target{}) {
		done.Text += "; what was withheld is in force now: " + a.Mode().String()
	}
	keep := func() error { return nil }
	if c.Persist {
		keep = func() error { return a.keptModes.Put(target, setting) }
	}
	key := "mode of " + target.String()
	if c.Confirm == 0 {
		a.probation.Supersede(key, by)
		if err := keep(); err != nil {
			return done, fmt.Errorf("the mode is changed, but will not outlast a restart: %w", err)
		}
		return done, nil
	}
	return done, a.try(rollout.Change{Key: key, What: "mode", Text: done.Text, By: by}, c.Confirm, keep, func(ctx context.Context) error {
		a.reload.Lock()
		defer a.reload.Unlock()
		a.want(target, wasWanted)
		now := a.Modes()
		back := now.Clone()
		target.Set(&back, was)
		if a.policyInForce() != policy && a.objection(ctx, a.policyInForce(), back, &now) != nil {
			a.bundle.withheld = true // another policy has come since, which must not be enforced so
			return a.settle(ctx, false, by)
		}
		if withheld && !a.bundle.withheld {
			// What came into force with the change goes with it.
			a.bundle.withheld = true
			_, err := a.ChangeModes(ctx, enforcer.ModeChange{By: by, Text: "modes are what they were, because it was not confirmed",
				Change: func(m *event.Modes) { *m = before.Clone() }})
			return errors.Join(err, a.settle(ctx, false, by))
		}
		return a.changeMode(ctx, target, was, settingText(target, was, setting)+", because it was not confirmed", by)
	})
}

// want remembers a setting for when there is a bundle to use it with. a.reload
// is held.
func (a *agent) want(t rollout.Target, s rollout.Setting) {
	m := a.bundle.wanted.Clone()
	t.Set(&m, s)
	a.bundle.wanted = m
}

// resolve turns what an operator asks for into a target and its setting.
func (a *agent) resolve(c *server.ModeChange) (rollout.Target, rollout.Setting, error) {
	target := rollout.Target{Rule: c.Rule, Cgroup: c.Cgroup}
	if c.Cgroup != "" {
		path, err := bpf.FindCgroup(c.Cgroup)
		if err != nil {
			return target, rollout.Setting{}, &userError{Code: "cgroup", Why: err.Error()}
		}
		target.Cgroup = path
	}
	if ids := a.DenyRules(); c.Rule != "" && !c.Reset && !ids[c.Rule] {
		e := &userError{Code: "rule", Why: fmt.Sprintf("no deny rule in force has the id %q", c.Rule), Hint: "`bailiff explain --running` lists the rules in force"}
		if near := nearest(c.Rule, slices.Collect(maps.Keys(ids))); near != "" {
			e.Why += fmt.Sprintf("; did you mean %q?", near)
		}
		return target, rollout.Setting{}, e
	}
	if c.Reset {
		return target, rollout.Setting{}, nil
	}
	return target, rollout.Setting{Mode: &c.Mode, Share: c.Share}, nil
}

func (a *agent) changeMode(ctx context.Context, t rollout.Target, s rollout.Setting, text, by string) error {
	fields := map[string]string{"of": t.String()}
	if t != (rollout.Target{}) {
		fields["set"] = "default"
		if s.Mode != nil {
			fields["set"] = s.Mode.String()
		}
	}
	_, err := a.ChangeModes(ctx, enforcer.ModeChange{By: by, Text: text, Fields: fields, Change: func(m *event.Modes) { t.Set(m, s) }})
	if errors.Is(err, bpf.ErrCgroupMode) {
		return &userError{Code: "cgroup", Why: err.Error()}
	}
	if err != nil {
		return err
	}
	a.tellLimits()
	return nil
}

func settingText(t rollout.Target, now, was rollout.Setting) string {
	name := func(s rollout.Setting) string {
		switch {
		case s.Mode == nil:
			return "default"
		case *s.Mode == event.ModeEnforce && s.Share != 0 && s.Share < event.ShareAll:
			return "enforce in " + event.ShareText(s.Share) + " of the cgroups"
		}
		return s.Mode.String()
	}
	of := " of " + t.String()
	if t == (rollout.Target{}) {
		of = ""
	}
	return fmt.Sprintf("mode%s is %s, was %s", of, name(now), name(was))
}

// mayEnforce refuses to be called enforcing by accident where acts cannot be
// refused: the operator must have named that backend.
func (a *agent) mayEnforce(m event.Mode) error {
	if m != event.ModeEnforce || a.Backend != bpf.BackendTracepoint || a.explicit {
		return nil
	}
	return &userError{Code: "cannot-enforce",
		Why:  "enforce: no backend that can refuse acts works on this kernel" + a.why,
		Hint: "run `bailiff doctor` for the remedies; or accept that a denied exec is killed before its first instruction, and denied opens and forks are only reported: bailiff run --backend tracepoint"}
}

// mayBlock reports whether a deny rule blocks in some cgroup.
func mayBlock(m event.Modes, id string, audit bool) bool {
	own, owns := m.Rules[id]
	if owns {
		return own == event.ModeEnforce
	}
	if audit {
		return false
	}
	return m.All == event.ModeEnforce || slices.Contains(slices.Collect(maps.Values(m.Cgroups)), event.ModeEnforce)
}

// tellLimits raises a condition while rules that should block cannot.
func (a *agent) tellLimits() {
	var weak []string
	if a.Backend == bpf.BackendTracepoint {
		for _, r := range a.inForce() {
			if r.Hook != event.HookExec && r.Verdict == event.VerdictDeny && mayBlock(a.Modes(), r.Rule.ID, r.Audit) {
				weak = append(weak, r.Rule.ID)
			}
		}
	}
	if len(weak) == 0 {
		a.Clear(enforcer.CondBackendLimited)
		return
	}
	slices.Sort(weak)
	a.Raise(enforcer.CondBackendLimited, "the tracepoint backend cannot refuse opens and forks; these deny rules are reported only: "+
		strings.Join(slices.Compact(weak), ", "))
}

// mayTry says whether a change can go on probation now.
func (a *agent) mayTry(confirm time.Duration) error {
	if c, busy := a.probation.Current(); confirm != 0 && busy {
		return &userError{Code: "probation", Why: fmt.Sprintf("%v: %s, until %s", rollout.ErrBusy, c.Text, c.Until.Format(time.TimeOnly)),
			Hint: "`bailiff confirm` keeps it, `bailiff confirm --revert` takes it back"}
	}
	return nil
}

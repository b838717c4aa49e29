package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"example.com/bailiff/bpf"
	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/lockout"
	"example.com/bailiff/policy"
)

// noticeLockoutForced: an operator has put a policy or a mode in force that
// would deny what the lock-out guard protects; fields by, acts.
const noticeLockoutForced = "lockout-forced"

// maxFindings is how many findings an error shows.
const maxFindings = 8

// objection is what the lock-out guard has against a policy with these modes:
// it denies acts of init, the agent, the package manager or root's login, or
// nobody can say whether it does. What was denied before, with other modes of
// the same policy, is no reason: there must be a way back.
func (a *agent) objection(ctx context.Context, p *policy.Policy, m event.Modes, before *event.Modes) error {
	found, err := a.lockouts(ctx, p, m)
	if err == nil && len(found) > 0 && before != nil {
		var had []lockout.Finding
		had, err = a.lockouts(ctx, p, *before)
		found = slices.DeleteFunc(found, func(f lockout.Finding) bool {
			return slices.ContainsFunc(had, func(h lockout.Finding) bool { return h.String() == f.String() })
		})
	}
	if err != nil {
		return fmt.Errorf("look for a lock-out: %w", err)
	}
	if len(found) == 0 {
		return nil
	}
	var list []string
	for _, f := range found[:min(len(found), maxFindings)] {
		list = append(list, f.String())
	}
	if n := len(found) - len(list); n > 0 {
		list = append(list, fmt.Sprintf("and %d more", n))
	}
	return &userError{Code: "lock-out", Why: "this would lock out: " + strings.Join(list, "; "),
		Hint: "except these programs in the rule, keep the rule in audit mode (bailiff mode audit --rule " + found[0].Rule.ID + "), or insist with --force"}
}

// guard refuses what there is an objection to. With force it is only put on record.
func (a *agent) guard(ctx context.Context, p *policy.Policy, m event.Modes, before *event.Modes, force bool, by string) error {
	err := a.objection(ctx, p, m, before)
	if err == nil || !force {
		return err
	}
	a.overrule(err, by)
	return nil
}

// overrule puts on record that an operator insists.
func (a *agent) overrule(objection error, by string) {
	acts := whyOf(objection)
	a.log.Warn("lock-out guard overruled", "by", by, "acts", acts)
	a.Record(event.Notice{Code: noticeLockoutForced, Text: "the lock-out guard was overruled", Fields: map[string]string{"by": by, "acts": acts}})
}

// whyOf is the text of an objection without its hint.
func whyOf(err error) string {
	var u *userError
	if errors.As(err, &u) {
		return u.Why
	}
	return err.Error()
}

// lockouts lists the protected acts that would be denied. Scope and rescue set
// are taken into account: what they spare is not denied.
func (a *agent) lockouts(ctx context.Context, p *policy.Policy, m event.Modes) ([]lockout.Finding, error) {
	if !m.Enforces() {
		return nil, nil
	}
	own, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	audit := map[string]bool{}
	for _, r := range p.Explain() {
		audit[placeOf(&r.Rule)] = r.Audit
	}
	acts := slices.DeleteFunc(lockout.Acts(own), func(act lockout.Act) bool { return a.spared(act.Event) })
	if readDigests(p.Program()) {
		addDigests(acts)
	}
	return lockout.Check(ctx, p, acts, func(r *event.RuleRef, cgroup string) bool {
		if all := m; all.All == event.ModeEnforce {
			all.Share = 0 // today's share may be tomorrow's all
			mode, _ := all.Here(r.ID, audit[placeOf(r)], cgroup)
			return mode == event.ModeEnforce
		}
		mode, _ := m.Here(r.ID, audit[placeOf(r)], cgroup)
		return mode == event.ModeEnforce
	})
}

func placeOf(r *event.RuleRef) string { return fmt.Sprintf("%s %s:%d", r.Path, r.File, r.Line) }

// spared reports whether the kernel would not judge an act at all.
func (a *agent) spared(e *event.Event) bool {
	if slices.Contains(a.rescue, e.Process.Exe.Path) {
		return true
	}
	return len(a.scope) > 0 && !slices.ContainsFunc(a.scope, func(dir string) bool {
		dir, err := bpf.FindCgroup(dir)
		if err != nil {
			return true // in scope for all we know: that only makes the guard stricter
		}
		return e.Process.Cgroup == dir || strings.HasPrefix(e.Process.Cgroup, strings.TrimSuffix(dir, "/")+"/")
	})
}

// tellLockouts raises a condition while a policy that could lock everybody out
// does not only because of its modes: switching them on would be refused.
func (a *agent) tellLockouts(ctx context.Context, p *policy.Policy) {
	if a.bundle.withheld {
		a.Clear(enforcer.CondLockout) // the worse condition says it
		return
	}
	m := a.Modes().Clone()
	m.All = event.ModeEnforce
	found, err := a.lockouts(ctx, p, m)
	if err != nil || len(found) == 0 {
		a.Clear(enforcer.CondLockout)
		return
	}
	a.Raise(enforcer.CondLockout, fmt.Sprintf("in enforce mode %d protected acts would be denied, the first: %s", len(found), found[0]))
}

package main

import (
	"context"
	"maps"

	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy"
)

// startModes are the modes to begin with. If those that are wanted would lock
// somebody out the agent does not end, and does not deny: it begins in audit
// mode, because an agent that tells is worth more than none, and the wanted
// modes are withheld until settle finds that they may be in force. This fails
// open: tellWithheld raises a condition for it.
func (a *agent) startModes(ctx context.Context, p *policy.Policy, force bool) event.Modes {
	if a.bundle.fallback {
		return event.Modes{} // the embedded rules are not what the operator wanted enforced
	}
	a.bundle.objection = a.objection(ctx, p, a.bundle.wanted, nil)
	if a.bundle.objection != nil && !force {
		a.bundle.withheld = true
		return event.Modes{}
	}
	return a.bundle.wanted
}

// tellWithheld says why the wanted modes are not in force.
func (a *agent) tellWithheld(objection error) {
	a.Raise(enforcer.CondEnforceWithheld, "the configured mode is not in force, denials are recorded only: "+whyOf(objection))
}

// withhold goes to audit mode: what is in force now is wanted, but not with the
// policy that comes next. a.reload is held.
func (a *agent) withhold(ctx context.Context, by string) error {
	if !a.bundle.withheld {
		a.bundle.wanted, a.bundle.withheld = a.Modes().Clone(), true
	}
	_, err := a.ChangeModes(ctx, enforcer.ModeChange{By: by, Text: "mode is audit: the policy that comes back would lock somebody out",
		Change: func(m *event.Modes) { *m = event.Modes{}.Clone() }})
	return err
}

// settle puts the withheld modes in force if nothing is said against them any
// more: the policy has changed, a rule is in audit mode now, or an operator
// insists. a.reload is held.
func (a *agent) settle(ctx context.Context, force bool, by string) error {
	if !a.bundle.withheld {
		return nil
	}
	want := a.bundle.wanted
	if !sameModes(want, a.Modes()) {
		objection := a.objection(ctx, a.policyInForce(), want, nil)
		if objection != nil && !force {
			a.tellWithheld(objection)
			return nil
		}
		_, err := a.ChangeModes(ctx, enforcer.ModeChange{By: by, Text: "mode is " + want.All.String() + ": what was asked for is in force now",
			Change: func(m *event.Modes) { *m = want.Clone() }})
		if err != nil {
			return err
		}
		a.tellLimits()
	}
	a.bundle.withheld = false
	a.Clear(enforcer.CondEnforceWithheld)
	a.tellLockouts(ctx, a.policyInForce())
	return nil
}

func sameModes(a, b event.Modes) bool {
	return a.Word() == b.Word() && maps.Equal(a.Rules, b.Rules) && maps.Equal(a.Cgroups, b.Cgroups)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/policy"
	sources "example.com/bailiff/policy/source"
	"example.com/bailiff/rules"
)

// bundles is where the agent's policies come from, and what has to be told
// about that once the agent runs.
type bundles struct {
	from      *sources.Source    // nil: the embedded rules
	pace      *pacer             // of the collector, while one is loaded
	packs     []policy.Pack      // added to whatever bundle it is
	noDigests func(string) bool  // this kernel does not know this one
	next      *sources.Candidate // is about to come into force at the start

	// fallback says that no bundle was to be had at the start: the embedded
	// rules are in force, in audit mode. wanted are the modes that were asked for;
	// withheld says that they are not in force because they would lock somebody out.
	fallback  bool
	wanted    event.Modes
	withheld  bool
	objection error  // of the lock-out guard to the first policy with the wanted modes
	problem   error  // why the bundle in force is not the one that the source has now
	started   func() // ends the loading of the first policy
}

func (b *bundles) String() string {
	if b.from == nil {
		return embedded
	}
	return b.from.String()
}

// first finds the policy to start with. A remote bundle is not waited for when
// an earlier run kept one. What is wrong with a bundle, or with the data of a
// pack, does not end the agent: without a kept bundle the embedded rules take
// its place, in audit mode. That a name leads nowhere is an error.
func (b *bundles) first(ctx context.Context, cfg *config) (*policy.Policy, *policy.Report, error) {
	if b.from == nil {
		p, r, err := b.builtIn(ctx)
		var refused policy.Errors
		if errors.As(err, &refused) && len(b.packs) > 0 {
			return b.fallBack(ctx, err)
		}
		return p, r, err
	}
	var err error
	if !b.from.Remote() {
		return b.firstLocal(ctx)
	}
	b.next, err = b.from.Kept(ctx)
	if err == nil {
		return b.next.Policy, b.next.Report, nil
	}
	if errors.Is(err, sources.ErrNothingKept) {
		err = nil
	}
	wait, cancel := context.WithTimeout(ctx, cfg.Policy.BootWait)
	defer cancel()
	var fetchErr error
	for {
		if b.next, fetchErr = b.from.Fetch(wait, false); fetchErr == nil {
			return b.next.Policy, b.next.Report, nil
		}
		if !sources.Unreachable(fetchErr) || !pause(wait, bootRetry) {
			break
		}
	}
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	return b.fallBack(ctx, errors.Join(err, fetchErr))
}

func (b *bundles) firstLocal(ctx context.Context) (*policy.Policy, *policy.Report, error) {
	b.problem = b.from.Remember()
	var err error
	if b.next, err = b.from.Fetch(ctx, false); err != nil {
		kept, keptErr := b.from.Kept(ctx)
		_, missing := os.Stat(b.from.Path())
		switch {
		case keptErr == nil:
			b.next, b.problem = kept, err
		case missing != nil || ctx.Err() != nil:
			return nil, nil, err
		default:
			return b.fallBack(ctx, err)
		}
	}
	return b.next.Policy, b.next.Report, nil
}

// fallBack takes the embedded rules instead; without the packs if it is they
// that cannot be used.
func (b *bundles) fallBack(ctx context.Context, problem error) (*policy.Policy, *policy.Report, error) {
	b.fallback, b.problem = true, problem
	if p, r, err := b.builtIn(ctx); err == nil {
		return p, r, nil
	}
	return policy.LoadFS(ctx, rules.FS, policy.Options{NoDigests: b.noDigests})
}

// builtIn loads the embedded rules.
func (b *bundles) builtIn(ctx context.Context) (*policy.Policy, *policy.Report, error) {
	return policy.LoadFS(ctx, rules.FS, policy.Options{Packs: b.packs, NoDigests: b.noDigests})
}

// bootRetry is the time between two attempts to get a first bundle.
const bootRetry = 500 * time.Millisecond

// pause waits; false says that the context ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// told says what the start has to say, once the stream is there to hear it.
func (a *agent) told() {
	b := &a.bundle
	b.started()
	if b.next != nil {
		a.keep(b.next)
		b.next = nil
	}
	if b.fallback {
		a.Raise(enforcer.CondPolicyFallback, "nothing was to be had from "+b.String()+" that can be used: the embedded rules are in force, in audit mode")
	}
	if b.problem != nil {
		a.refuse(b.problem, "start")
	}
	switch {
	case b.withheld:
		a.tellWithheld(b.objection)
	case b.objection != nil:
		a.overrule(b.objection, "start")
	}
}

func (a *agent) keep(c *sources.Candidate) {
	if err := c.Keep(); err != nil {
		a.Raise(enforcer.CondPolicyNotKept, err.Error())
		return
	}
	a.Clear(enforcer.CondPolicyNotKept)
}

// refuse tells that what the source has is not what is in force.
func (a *agent) refuse(err error, by string) { a.refuseFrom(err, a.bundle.String(), by) }

// refuseFrom is refuse for a bundle of another origin.
func (a *agent) refuseFrom(err error, origin, by string) {
	if sources.Unreachable(err) {
		a.Raise(enforcer.CondPolicyUnreachable, err.Error())
		return
	}
	var b strings.Builder
	_ = policy.FormatErrors(&b, err)
	fields := map[string]string{"reason": b.String(), "source": origin, "by": by, "in_force": a.Enforcer.Status().Revision}
	var list policy.Errors
	if errors.As(err, &list) && len(list) > 0 {
		fields["code"] = list[0].Code
	}
	a.Record(event.Notice{Code: enforcer.NoticePolicyRefused, Text: "the bundle is refused, the policy in force stays", Fields: fields})
	a.Raise(enforcer.CondPolicyStale, err.Error())
	a.log.Error("bundle is refused, the policy in force stays", "source", origin, "by", by, "error", err.Error())
}

// ReloadPolicy implements server.Agent. On any error the policy in force stays,
// the condition policy-stale is raised and the stream is told why.
func (a *agent) ReloadPolicy(ctx context.Context, r server.Reload, by string) error {
	a.reload.Lock()
	defer a.reload.Unlock()
	defer a.bundle.pace.begin(0)()
	if a.bundle.from == nil {
		p, report, err := a.bundle.builtIn(ctx)
		if err != nil {
			a.refuse(err, by)
			return fmt.Errorf("reload policy: %w", err)
		}
		return a.configure(ctx, p, report, r.Force, by)
	}
	c, err := a.bundle.from.Fetch(ctx, r.AllowRollback)
	return a.change(ctx, c, err, r.Force, by)
}

// configure puts the configured bundle in force: what was applied in its place
// gives way. a.reload is held.
func (a *agent) configure(ctx context.Context, p *policy.Policy, report *policy.Report, force bool, by string) error {
	if err := a.put(ctx, p, report, force, a.bundle.String(), by); err != nil {
		return err
	}
	a.configured = report.Revision
	a.probation.Supersede(policyKey, by)
	a.applied.forget(a.log)
	if !a.bundle.fallback {
		return nil
	}
	a.bundle.fallback = false
	a.Clear(enforcer.CondPolicyFallback)
	a.bundle.withheld = true
	return a.settle(ctx, false, "the configuration, now that there is a bundle")
}

// change puts a candidate in force. a.reload is held.
func (a *agent) change(ctx context.Context, c *sources.Candidate, err error, force bool, by string) error {
	if err == nil {
		err = c.Current()
	}
	if err != nil {
		if ctx.Err() == nil { // else nobody waits for it any more
			a.refuse(err, by)
		}
		return fmt.Errorf("reload policy: %w", err)
	}
	if err := a.configure(ctx, c.Policy, c.Report, force, by); err != nil {
		return err
	}
	a.keep(c)
	a.Clear(enforcer.CondPolicyUnreachable)
	return nil
}

// put puts a compiled policy in force, if the lock-out guard lets it.
func (a *agent) put(ctx context.Context, p *policy.Policy, report *policy.Report, force bool, origin, by string) error {
	if err := a.guard(ctx, p, a.Modes(), nil, force, by); err != nil {
		a.refuseFrom(err, origin, by)
		return err
	}
	if err := a.SetPolicy(ctx, p); err != nil {
		return err
	}
	a.setPolicy(p, origin)
	logReport(a.log, report)
	a.tellLimits()
	a.tellLockouts(ctx, p)
	return a.settle(ctx, false, by)
}

// followBundle takes up what a remote source has, until the context ends.
func (a *agent) followBundle(ctx context.Context) error {
	return a.bundle.from.Follow(ctx, func(ctx context.Context, c *sources.Candidate, err error) error {
		a.reload.Lock()
		defer a.reload.Unlock()
		if c == nil && err == nil {
			a.Clear(enforcer.CondPolicyUnreachable)
			a.Clear(enforcer.CondPolicyStale)
			return nil
		}
		if errors.Is(err, sources.ErrStillRefused) {
			a.Clear(enforcer.CondPolicyUnreachable)
			return err
		}
		return a.change(ctx, c, err, false, "change of the bundle")
	})
}

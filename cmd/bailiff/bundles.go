package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy"
	sources "example.com/bailiff/policy/source"
	"example.com/bailiff/rules"
)

// bundles is where the agent's policies come from, and what has to be told
// about that once the agent runs.
type bundles struct {
	from *sources.Source    // nil: the embedded rules
	next *sources.Candidate // is about to come into force at the start

	// fallback says that no bundle was to be had at the start: the embedded
	// rules are in force, in audit mode. wanted is the mode that was asked for.
	fallback bool
	wanted   event.Mode
	problem  error // why the bundle in force is not the one that the source has now
}

func (b *bundles) String() string {
	if b.from == nil {
		return embedded
	}
	return b.from.String()
}

// first finds the policy to start with. A remote bundle is not waited for when
// an earlier run kept one; without any the embedded rules take its place.
func (b *bundles) first(ctx context.Context, cfg *config) (*policy.Policy, *policy.Report, error) {
	if b.from == nil {
		return policy.LoadFS(ctx, rules.FS, policy.Options{})
	}
	var err error
	if !b.from.Remote() {
		if err := b.from.Remember(); err != nil {
			b.problem = err
		}
		if b.next, err = b.from.Fetch(ctx, false); err != nil {
			kept, keptErr := b.from.Kept(ctx)
			if keptErr != nil {
				return nil, nil, err
			}
			b.next, b.problem = kept, err
		}
		return b.next.Policy, b.next.Report, nil
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
	b.fallback, b.problem = true, errors.Join(err, fetchErr)
	return policy.LoadFS(ctx, rules.FS, policy.Options{})
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
	if b.next != nil {
		a.keep(b.next)
		b.next = nil
	}
	if b.fallback {
		a.Raise(enforcer.CondPolicyFallback, "no bundle was to be had from "+b.String()+": the embedded rules are in force, in audit mode")
	}
	if b.problem != nil {
		a.refuse(b.problem, "start")
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
func (a *agent) refuse(err error, by string) {
	if sources.Unreachable(err) {
		a.Raise(enforcer.CondPolicyUnreachable, err.Error())
		return
	}
	var b strings.Builder
	_ = policy.FormatErrors(&b, err)
	fields := map[string]string{"reason": b.String(), "source": a.bundle.String(), "by": by, "in_force": a.Enforcer.Status().Revision}
	var list policy.Errors
	if errors.As(err, &list) && len(list) > 0 {
		fields["code"] = list[0].Code
	}
	a.Record(event.Notice{Code: enforcer.NoticePolicyRefused, Text: "the bundle is refused, the policy in force stays", Fields: fields})
	a.Raise(enforcer.CondPolicyStale, err.Error())
	a.log.Error("bundle is refused, the policy in force stays", "source", a.bundle.String(), "by", by, "error", err.Error())
}

// ReloadPolicy implements server.Agent. On any error the policy in force stays,
// the condition policy-stale is raised and the stream is told why. rollback
// accepts a bundle that is older than the one in force.
func (a *agent) ReloadPolicy(ctx context.Context, rollback bool, by string) error {
	a.reload.Lock()
	defer a.reload.Unlock()
	if a.bundle.from == nil {
		p, report, err := policy.LoadFS(ctx, rules.FS, policy.Options{})
		if err != nil {
			a.refuse(err, by)
			return fmt.Errorf("reload policy: %w", err)
		}
		return a.put(ctx, p, report)
	}
	c, err := a.bundle.from.Fetch(ctx, rollback)
	return a.change(ctx, c, err, by)
}

// change puts a candidate in force. a.reload is held.
func (a *agent) change(ctx context.Context, c *sources.Candidate, err error, by string) error {
	if err == nil {
		err = c.Current()
	}
	if err != nil {
		a.refuse(err, by)
		return fmt.Errorf("reload policy: %w", err)
	}
	if err := a.put(ctx, c.Policy, c.Report); err != nil {
		return err
	}
	a.keep(c)
	a.Clear(enforcer.CondPolicyUnreachable)
	if a.bundle.fallback {
		a.bundle.fallback = false
		a.Clear(enforcer.CondPolicyFallback)
		if m := a.wantedMode(); m != a.Mode() {
			return a.SetMode(ctx, m, "the configuration, now that there is a bundle")
		}
	}
	return nil
}

// wantedMode is what the configuration says, or the operator said since.
func (a *agent) wantedMode() event.Mode {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.bundle.wanted
}

func (a *agent) put(ctx context.Context, p *policy.Policy, report *policy.Report) error {
	if err := a.Enforcer.SetPolicy(ctx, p); err != nil {
		return err
	}
	a.setRules(p)
	logReport(a.log, report)
	a.tellLimits()
	return nil
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
		return a.change(ctx, c, err, "change of the bundle")
	})
}

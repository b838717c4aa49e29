package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime/debug"
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
	from  *sources.Source    // nil: the embedded rules
	packs []policy.Pack      // added to whatever bundle it is
	next  *sources.Candidate // is about to come into force at the start

	// fallback says that no bundle was to be had at the start: the embedded
	// rules are in force, in audit mode. wanted are the modes that were asked for.
	fallback bool
	wanted   event.Modes
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
		return b.builtIn(ctx)
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
	return b.builtIn(ctx)
}

// builtIn loads the embedded rules.
func (b *bundles) builtIn(ctx context.Context) (*policy.Policy, *policy.Report, error) {
	return policy.LoadFS(ctx, rules.FS, policy.Options{Packs: b.packs})
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
	if b.from != nil {
		lavish()
	}
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
	return nil
}

// frugal makes the collector run more often while a bundle is loaded: the old
// policy and the new one are in memory together, and most of what a compiler
// takes is garbage soon. What compiled bundles take grows with their size.
func frugal(bytes int64) { debug.SetMemoryLimit(56<<20 + 6*bytes) }

// lavish ends frugal.
func lavish() {
	debug.SetMemoryLimit(math.MaxInt64)
	debug.FreeOSMemory()
}

// change puts a candidate in force. a.reload is held.
func (a *agent) change(ctx context.Context, c *sources.Candidate, err error, force bool, by string) error {
	defer lavish()
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
	if a.bundle.fallback {
		a.bundle.fallback = false
		a.Clear(enforcer.CondPolicyFallback)
		return a.wantedModes(ctx)
	}
	return nil
}

// wantedModes sets what the configuration says, or the operator said since.
func (a *agent) wantedModes(ctx context.Context) error {
	want := a.bundle.wanted
	if now := a.Modes(); want.All == now.All && maps.Equal(want.Rules, now.Rules) && maps.Equal(want.Cgroups, now.Cgroups) {
		return nil
	}
	const by = "the configuration, now that there is a bundle"
	if err := a.guard(ctx, a.policyInForce(), want, nil, false, by); err != nil {
		return err
	}
	_, err := a.ChangeModes(ctx, enforcer.ModeChange{By: by, Change: func(m *event.Modes) { *m = want.Clone() }})
	a.tellLimits()
	return err
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
		return a.change(ctx, c, err, false, "change of the bundle")
	})
}

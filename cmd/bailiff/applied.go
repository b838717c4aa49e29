package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/internal/rollout"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/policy"
	sources "example.com/bailiff/policy/source"
)

// policyKey is the key of a policy on probation.
const policyKey = "policy"

// applied is the bundle that an operator has sent and that stays, in the state
// directory. It stands in for the configured one until that changes.
type applied struct {
	dir string
	// open makes a source of an archive, with the signatures and limits that the
	// configured bundle is held to.
	open func(path string) (*sources.Source, error)
}

// appliedBundle is what is known about it.
type appliedBundle struct {
	Name string    `json:"name"`
	By   string    `json:"by"`
	Time time.Time `json:"time"`
	Over string    `json:"over"` // revision of the configured bundle at that time
}

func (a *applied) archive() string { return filepath.Join(a.dir, "applied.tar.gz") }
func (a *applied) facts() string   { return filepath.Join(a.dir, "applied.json") }

// keep stores a bundle. The facts go last: without them the archive is nothing.
func (a *applied) keep(bundle []byte, facts appliedBundle) error {
	b, err := json.MarshalIndent(facts, "", "  ")
	if err != nil {
		return fmt.Errorf("keep bundle: %w", err)
	}
	if err := os.Remove(a.facts()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("keep bundle: %w", err)
	}
	if err := rollout.WriteFile(a.archive(), bundle); err != nil {
		return fmt.Errorf("keep bundle: %w", err)
	}
	if err := rollout.WriteFile(a.facts(), append(b, '\n')); err != nil {
		return fmt.Errorf("keep bundle: %w", err)
	}
	return nil
}

// forget removes it.
func (a *applied) forget(log hclog.Logger) {
	for _, f := range []string{a.facts(), a.archive()} {
		if err := os.Remove(f); err != nil && !errors.Is(err, os.ErrNotExist) {
			log.Error("a bundle that was applied stays on disk and would be used after a restart", "file", f, "error", err)
		}
	}
}

// instead loads the applied bundle, if there is one that stands in for this
// revision of the configured one; nil if not.
func (a *applied) instead(ctx context.Context, configured string) (*sources.Candidate, appliedBundle, error) {
	var facts appliedBundle
	b, err := os.ReadFile(a.facts())
	if errors.Is(err, os.ErrNotExist) {
		return nil, facts, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &facts)
	}
	if err != nil {
		return nil, facts, fmt.Errorf("read applied bundle: %w", err)
	}
	if facts.Over != configured {
		return nil, facts, nil
	}
	c, err := a.load(ctx, a.archive())
	if err != nil {
		return nil, facts, fmt.Errorf("load applied bundle: %w", err)
	}
	return c, facts, nil
}

// load compiles an archive. An operator may apply an older one: that is no
// rollback that somebody else brings about.
func (a *applied) load(ctx context.Context, path string) (*sources.Candidate, error) {
	s, err := a.open(path)
	if err != nil {
		return nil, err
	}
	return s.Fetch(ctx, true)
}

func (f appliedBundle) origin() string {
	return fmt.Sprintf("%s, applied by %s at %s", f.Name, f.By, f.Time.UTC().Format(time.RFC3339))
}

// ApplyPolicy implements server.Agent.
func (a *agent) ApplyPolicy(ctx context.Context, s server.Apply, by string) error {
	a.reload.Lock()
	defer a.reload.Unlock()
	defer a.bundle.pace.begin(0)()
	if err := a.mayTry(s.Confirm); err != nil {
		return err
	}
	facts := appliedBundle{Name: s.Name, By: by, Time: time.Now(), Over: a.configured}
	c, err := a.received(ctx, s)
	if err != nil {
		a.refuseFrom(err, facts.origin(), by)
		return fmt.Errorf("apply policy: %w", err)
	}
	was, wasFrom, wasRevision, wasModes := a.policyInForce(), a.comesFrom(), a.Enforcer.Status().Revision, a.Modes()
	if err := a.put(ctx, c.Policy, c.Report, s.Force, facts.origin(), by); err != nil {
		return fmt.Errorf("apply policy: %w", err)
	}
	keep := func() error { return a.applied.keep(s.Bundle, facts) }
	if s.Confirm == 0 {
		a.probation.Supersede(policyKey, by)
		if err := keep(); err != nil {
			return fmt.Errorf("the policy is in force, but will not outlast a restart: %w", err)
		}
		return nil
	}
	text := fmt.Sprintf("policy is %s from %s, was %s", c.Report.Revision, s.Name, wasRevision)
	return a.try(rollout.Change{Key: policyKey, What: "policy", Text: text, By: by}, s.Confirm, keep, func(ctx context.Context) error {
		a.reload.Lock()
		defer a.reload.Unlock()
		// The modes may have changed since: the old policy must not be enforced then
		// if that locks somebody out.
		if !sameModes(wasModes, a.Modes()) && a.objection(ctx, was, a.Modes(), &wasModes) != nil {
			if err := a.withhold(ctx, by); err != nil {
				return err
			}
		}
		if err := a.SetPolicy(ctx, was); err != nil {
			return err
		}
		a.setPolicy(was, wasFrom)
		a.tellLimits()
		a.tellLockouts(ctx, was)
		return a.settle(ctx, false, by)
	})
}

// received loads a bundle that came with a call.
func (a *agent) received(ctx context.Context, s server.Apply) (*sources.Candidate, error) {
	f, err := os.CreateTemp("", "bailiff-apply-*.tar.gz")
	if err != nil {
		return nil, fmt.Errorf("store bundle: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(s.Bundle)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("store bundle: %w", err)
	}
	return a.applied.load(ctx, f.Name())
}

// openApplied opens archives as the configured bundle is opened.
func (c *config) openApplied(packs []policy.Pack, pace *pacer, log hclog.Logger) func(string) (*sources.Source, error) {
	p := c.Policy
	p.State = stateOff
	return func(path string) (*sources.Source, error) { return p.open(path, packs, pace, log) }
}

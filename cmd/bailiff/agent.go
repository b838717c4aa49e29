package main

import (
	"context"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/bpf"
	"example.com/bailiff/enforcer"
	"example.com/bailiff/enforcer/gate"
	"example.com/bailiff/internal/digest"
	"example.com/bailiff/internal/rollout"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/spool"
	"example.com/bailiff/policy"
)

// agent is the enforcer as the server sees it, with what only the wiring knows:
// where the policy comes from and what the backend was chosen by.
type agent struct {
	*enforcer.Enforcer
	log      hclog.Logger
	id       server.Identity
	scope    []string // cgroup directories; empty: the whole machine
	rescue   []string
	bundle   bundles
	explicit bool         // the operator named the backend
	why      string       // why no better backend works, when this one cannot refuse
	kept     *spool.Log   // nil: none
	decided  *decisionLog // nil: none
	vitals   *vitals
	kernel   *bpf.Kernel
	gate     *gate.Gate    // nil: the kernel has none
	digests  *digest.Cache // of programs, for rules that are held
	out      *ways         // other ways out for events

	keptModes *rollout.Kept
	probation *rollout.Probation
	applied   *applied

	reload     sync.Mutex // one change at a time
	configured string     // revision of the configured bundle as it was last read; under reload
	mu         sync.Mutex
	policy     *policy.Policy         // in force
	rules      []policy.ExplainedRule // of it
	origin     string                 // where it comes from
}

// Status implements server.Agent.
func (a *agent) Status() server.Status {
	s := a.Enforcer.Status()
	out := server.Status{
		Version: a.id.Version, BootID: a.id.BootID, RunID: a.id.RunID, PID: os.Getpid(), Started: s.Started,
		Backend: s.Backend, Mode: s.Modes.All, Modes: s.Modes, Kept: a.keptModes.Names(), Scope: s.Scope, Rescue: a.rescue,
		Revision: s.Revision, Generation: uint32(s.Generation), PolicySource: a.comesFrom(), PolicyLoaded: s.Since,
		RuleClasses: map[string]uint32{}, Counters: s.Counters,
	}
	if a.decided != nil {
		maps.Copy(out.Counters, a.decided.Counters())
	}
	a.out.counters(out.Counters)
	if a.kept != nil {
		maps.Copy(out.Counters, a.kept.Counters())
	}
	if c, ok := a.probation.Current(); ok {
		p := probationOf(c)
		out.Probation = &p
	}
	a.addVitals(&out)
	if a.gate != nil {
		maps.Copy(out.Counters, a.gate.Counters())
		maps.Copy(out.Counters, a.digests.Counters())
	}
	for _, r := range a.inForce() {
		out.RuleClasses[r.Class.String()]++
	}
	for _, c := range s.Conditions {
		out.Conditions = append(out.Conditions, server.Condition{
			Code: c.Code, Text: c.Text, Since: c.Since, Severity: string(c.Severity), Remedy: c.Remedy,
		})
	}
	return out
}

// Policy implements server.Agent.
func (a *agent) Policy() server.Policy {
	s := a.Enforcer.Status()
	out := server.Policy{Revision: s.Revision, Generation: uint32(s.Generation), Source: a.comesFrom(), Loaded: s.Since}
	for _, r := range a.inForce() {
		rule := server.Rule{
			Ref: r.Rule, Hook: r.Hook, Verdict: r.Verdict, Audit: r.Audit, Class: r.Class.String(), Undecided: r.Undecided, Response: "refuse",
		}
		if r.Kill {
			rule.Response = "kill"
		}
		for _, d := range r.Reasons {
			rule.Reasons = append(rule.Reasons, server.Reason{Code: string(d.Code), File: d.File, Line: d.Line, Why: d.Why, Hint: d.Hint})
		}
		out.Rules = append(out.Rules, rule)
	}
	return out
}

// setPolicy keeps what people ask for, so that asking costs nothing.
func (a *agent) setPolicy(p *policy.Policy, origin string) {
	rules := p.Explain()
	for i := range rules {
		rules[i].Clauses = nil // they may be as large as the data that they read
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.policy, a.rules, a.origin = p, rules, origin
}

func (a *agent) inForce() []policy.ExplainedRule {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rules
}

func (a *agent) policyInForce() *policy.Policy {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.policy
}

func (a *agent) comesFrom() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.origin
}

// reloadFor is ReloadPolicy for changes that nobody waits for: the error is in
// the log, the stream and the status.
func (a *agent) reloadFor(ctx context.Context, by string) {
	start := time.Now()
	if err := a.ReloadPolicy(ctx, server.Reload{}, by); err == nil {
		_ = trimProgram() // if it cannot, starting has said so
		a.log.Info("policy reloaded", "by", by, "took", time.Since(start).Round(time.Millisecond).String())
	}
}

func logReport(log hclog.Logger, r *policy.Report) {
	log.Info("bundle compiled", "revision", r.Revision, "rules", r.Rules, "lowered", r.Lowered,
		"compile", r.Compile.Round(time.Millisecond).String(), "lower", r.Lower.Round(time.Millisecond).String())
	for _, w := range r.Warnings {
		log.Warn("bundle has a probable mistake", "code", w.Code, "file", w.File, "line", w.Line, "why", w.Why, "hint", w.Hint)
	}
}

package main

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/bpf"
	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/event"
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
	rescue   []string
	bundle   bundles
	explicit bool       // the operator named the backend
	why      string     // why no better backend works, when this one cannot refuse
	kept     *spool.Log // nil: none

	reload sync.Mutex // one at a time
	mu     sync.Mutex
	rules  []policy.ExplainedRule // in force
}

// Status implements server.Agent.
func (a *agent) Status() server.Status {
	s := a.Enforcer.Status()
	out := server.Status{
		Version: a.id.Version, BootID: a.id.BootID, RunID: a.id.RunID, PID: os.Getpid(), Started: s.Started,
		Backend: s.Backend, Mode: s.Mode, Scope: s.Scope, Rescue: a.rescue,
		Revision: s.Revision, Generation: uint32(s.Generation), PolicySource: a.bundle.String(), PolicyLoaded: s.Since,
		RuleClasses: map[string]uint32{}, Counters: s.Counters,
	}
	if a.kept != nil {
		maps.Copy(out.Counters, a.kept.Counters())
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
	out := server.Policy{Revision: s.Revision, Generation: uint32(s.Generation), Source: a.bundle.String(), Loaded: s.Since}
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

// setRules keeps what people ask for, so that asking costs nothing.
func (a *agent) setRules(p *policy.Policy) {
	rules := p.Explain()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.rules = rules
}

func (a *agent) inForce() []policy.ExplainedRule {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rules
}

// SetMode implements server.Agent.
func (a *agent) SetMode(ctx context.Context, m event.Mode, by string) error {
	if err := a.mayEnforce(m); err != nil {
		return err
	}
	if err := a.Enforcer.SetMode(ctx, m, by); err != nil {
		return err
	}
	a.mu.Lock()
	a.bundle.wanted = m
	a.mu.Unlock()
	a.tellLimits()
	return nil
}

// reloadFor is ReloadPolicy for changes that nobody waits for: the error is in
// the log, the stream and the status.
func (a *agent) reloadFor(ctx context.Context, by string) {
	start := time.Now()
	if err := a.ReloadPolicy(ctx, false, by); err == nil {
		a.log.Info("policy reloaded", "by", by, "took", time.Since(start).Round(time.Millisecond).String())
	}
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

// tellLimits raises a condition while rules that should block cannot.
func (a *agent) tellLimits() {
	var weak []string
	if a.Mode() == event.ModeEnforce && a.Backend == bpf.BackendTracepoint {
		for _, r := range a.inForce() {
			if r.Hook != event.HookExec && r.Verdict == event.VerdictDeny && !r.Audit {
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

func logReport(log hclog.Logger, r *policy.Report) {
	log.Info("bundle compiled", "revision", r.Revision, "rules", r.Rules, "lowered", r.Lowered,
		"compile", r.Compile.Round(time.Millisecond).String(), "lower", r.Lower.Round(time.Millisecond).String())
	for _, w := range r.Warnings {
		log.Warn("bundle has a probable mistake", "code", w.Code, "file", w.File, "line", w.Line, "why", w.Why, "hint", w.Hint)
	}
}

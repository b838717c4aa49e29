package main

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/enforcer"
	"example.com/bailiff/enforcer/gate"
)

// gateConfig is what can be said about execs that are held.
type gateConfig struct {
	Mounts   []string      `yaml:"mounts"`
	Deadline time.Duration `yaml:"deadline"`
}

// gateJudge lets the gate ask the enforcer.
type gateJudge struct{ ag *agent }

// Look implements gate.Judge.
func (j gateJudge) Look(fd int, tid int32) gate.Case {
	h := j.ag.AtGate(fd, tid)
	if h == nil {
		return nil
	}
	return heldCase{h}
}

type heldCase struct{ h *enforcer.Held }

func (c heldCase) Default() bool { return c.h.Default() }

func (c heldCase) Judge(ctx context.Context) gate.Answer {
	allow, known, barred := c.h.Judge(ctx)
	return gate.Answer{Known: known, Allow: allow, Barred: barred}
}

// Waive implements gate.Case.
func (c heldCase) Waive(mark func() error) { c.h.Waive(mark) }

// Barred implements gate.Case.
func (c heldCase) Barred() bool { return c.h.Barred() }

// Done tells of what no hook will see; an exec that goes on is told by its hook.
func (c heldCase) Done(o gate.Outcome) {
	if !o.Allowed {
		c.h.Refused(context.Background(), o.Reason)
	}
}

// openGate makes the gate. Without one the agent runs on: held rules then get
// what they declare, and the condition says so.
func openGate(cfg *config, ag *agent, log hclog.Logger) *gate.Gate {
	g, err := gate.Open(gate.Options{
		Judge: gateJudge{ag}, Mounts: cfg.Gate.Mounts, Deadline: cfg.Gate.Deadline, Log: log,
		Breaker: func(open bool) {
			if open {
				ag.Raise(enforcer.CondGateOpen, "the policy did not answer in time several times in a row")
				return
			}
			ag.Clear(enforcer.CondGateOpen)
		},
		Uncovered: func(why string) {
			if why != "" {
				ag.Raise(enforcer.CondGateLimited, "execs are not held on: "+why)
				return
			}
			ag.Clear(enforcer.CondGateLimited)
		},
	})
	if err != nil {
		log.Error("execs cannot be held", "error", err)
		return nil
	}
	return g
}

// holding places the gate's marks, or takes them away.
func (a *agent) holding(on bool) {
	if a.gate == nil {
		if on {
			a.Raise(enforcer.CondGateLimited, "execs are held nowhere: see the log for what the kernel said")
		}
		return
	}
	if err := a.gate.Hold(on); err != nil {
		a.Raise(enforcer.CondGateLimited, err.Error())
	}
}

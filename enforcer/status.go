package enforcer

import (
	"time"

	"example.com/bailiff/internal/event"
)

// Status is the state of the agent at one moment.
type Status struct {
	Modes      event.Modes       `json:"modes"` // where deny verdicts block
	Backend    string            `json:"backend"`
	Scope      []string          `json:"scope"`      // cgroup paths; empty means the whole machine
	Revision   string            `json:"revision"`   // of the bundle in force; "" before the first
	Generation Generation        `json:"generation"` // 0 before the first
	Since      time.Time         `json:"since"`      // when that policy came into force
	Started    time.Time         `json:"started"`    // when the agent started
	Rules      RuleCount         `json:"rules"`
	Processes  int               `json:"processes"` // process images in the tree
	Cached     int               `json:"cached"`    // verdicts of deferred rules that are kept for this generation
	Pipeline   int               `json:"pipeline"`  // events between ring and sinks
	Counters   map[string]uint64 `json:"counters"`  // since start; the kernel's begin with kernel_
	Conditions []Condition       `json:"conditions"`
}

// Status reads the state; it is cheap enough to be asked each second.
func (e *Enforcer) Status() Status {
	s := Status{
		Modes:      e.Modes(),
		Backend:    e.Backend,
		Scope:      e.Scope,
		Started:    e.started,
		Processes:  e.tree.size(),
		Pipeline:   len(e.order),
		Counters:   map[string]uint64{},
		Conditions: e.Conditions(),
	}
	if in := e.active.Load(); in != nil {
		s.Revision, s.Generation, s.Since, s.Rules = in.revision, in.gen, in.since, in.rules
		s.Cached = in.cache.size()
	}
	e.counts.snapshot(s.Counters)
	kernel, err := e.Kernel.Counters()
	if err != nil {
		e.log.Debug("cannot read kernel counters", "error", err)
	}
	for name, n := range kernel {
		s.Counters["kernel_"+name] = n
	}
	return s
}

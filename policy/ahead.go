package policy

import (
	"context"
	"fmt"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
	"example.com/bailiff/policy/lower"
)

// Step is a part of loading a bundle.
type Step string

// The steps. StepRead is what comes before Compile.
const (
	StepRead    Step = "read"
	StepParse   Step = "parse"
	StepCompile Step = "compile"
	StepLower   Step = "lower"
)

// Steps are the steps in their order.
var Steps = []Step{StepRead, StepParse, StepCompile, StepLower}

// Ahead is another process that loads the same bundle one step ahead, so that
// what exhausts a process does not exhaust this one.
type Ahead interface {
	// Did is called before each step and waits until the other process has done
	// it; false: it does not. An error ends the load. What only looks for
	// mistakes is not done again.
	Did(ctx context.Context, s Step) (bool, error)
	// Lowered is what it has made of the rules, once it did StepLower; nil:
	// nothing that could be used here.
	Lowered() *Lowered
}

// alone is nobody ahead.
type alone struct{}

func (alone) Did(context.Context, Step) (bool, error) { return false, nil }
func (alone) Lowered() *Lowered                       { return nil }

// Lowered is what lowering makes of a bundle. It may cross the border between
// processes, of the same program.
type Lowered struct {
	Program  *ir.Program
	Deferred []lower.Deferred
}

// Lowered returns what lowering made of the policy.
func (p *Policy) Lowered() *Lowered { return &Lowered{p.program, p.deferred} }

// lower takes what the other process has made of the rules, if these are the
// same, or lowers them here. They differ when the data of a pack has changed
// in between.
func (a *Archive) lower(ctx context.Context, ahead Ahead, src lower.Source, rules []lower.Rule, revision string) (*Lowered, error) {
	if _, err := ahead.Did(ctx, StepLower); err != nil {
		return nil, err
	}
	target := a.target()
	// The other process takes the kernel to have all digests.
	if l := ahead.Lowered(); l != nil && target.Has(event.OnlyAtGate...) && l.of(rules, revision) {
		if err := l.Program.Validate(); err != nil {
			return nil, fmt.Errorf("take over what was lowered: %w", err)
		}
		return l, nil
	}
	program, deferred, err := lower.Lower(ctx, src, rules, target)
	if err != nil {
		return nil, fmt.Errorf("lower bundle: %w", err)
	}
	program.Revision = revision
	return &Lowered{program, deferred}, nil
}

// of reports whether the program is that of these rules, which stand in the
// order in which they win.
func (l *Lowered) of(rules []lower.Rule, revision string) bool {
	if l.Program == nil || l.Program.Revision != revision {
		return false
	}
	next := map[event.Hook]int{}
	for i := range rules {
		r := &rules[i]
		list, n := l.Program.Rules[r.Hook], next[r.Hook]
		if n >= len(list) || !sameRule(&list[n].Ref, &r.Ref) || list[n].Verdict != r.Verdict || list[n].Audit != r.Audit {
			return false
		}
		next[r.Hook]++
	}
	for hook, list := range l.Program.Rules {
		if len(list) != next[hook] {
			return false
		}
	}
	return true
}

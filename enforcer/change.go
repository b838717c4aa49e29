package enforcer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"example.com/bailiff/internal/event"
)

// SetPolicy puts a policy in force: its tables are built aside, made active by
// one store, and the former ones freed. Calls wait for one another. Until the
// store succeeds the former policy is in force, and it stays so on any error;
// the condition policy-stale then says why.
func (e *Enforcer) SetPolicy(ctx context.Context, p Policy) error {
	e.changeMu.Lock()
	defer e.changeMu.Unlock()
	old := e.active.Load()
	in, err := e.install(ctx, p, e.Modes().Rules, e.Now())
	if err != nil {
		err = fmt.Errorf("set policy %s: %w", p.Revision(), err)
		fields := map[string]string{"revision": p.Revision(), "reason": err.Error()}
		if old != nil {
			fields["in_force"] = old.revision
		}
		e.notice(NoticePolicyRefused, err.Error(), fields)
		e.Raise(CondPolicyStale, err.Error())
		return err
	}
	fields := map[string]string{
		"revision":    in.revision,
		"generation":  generationText(in.gen),
		"lowered":     strconv.Itoa(in.rules.Lowered),
		"prefiltered": strconv.Itoa(in.rules.Prefiltered),
		"deferred":    strconv.Itoa(in.rules.Deferred),
	}
	text := "policy " + in.revision + " is in force"
	if old != nil {
		fields["old_revision"] = old.revision
		text += ", instead of " + old.revision
	}
	e.log.Info("policy changed", "revision", in.revision, "generation", uint32(in.gen),
		"lowered", in.rules.Lowered, "prefiltered", in.rules.Prefiltered, "deferred", in.rules.Deferred)
	e.notice(NoticePolicyChange, text, fields)
	e.surveyAfter()
	e.Clear(CondPolicyStale)
	if old != nil {
		e.unfreed = append(e.unfreed, old.gen)
	}
	e.retire()
	return nil
}

// install stages and activates a policy with these modes of rules. After an error nothing of it is left.
func (e *Enforcer) install(ctx context.Context, p Policy, modes map[string]event.Mode, since time.Time) (*installed, error) {
	if len(e.unfreed) > 0 {
		e.retire() // the kernel has room for a few generations only
	}
	program := p.Program()
	if program == nil {
		return nil, errors.New("it has no program")
	}
	program = program.WithModes(modes)
	gen, err := e.Kernel.Stage(ctx, program)
	if err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	in := e.newInstalled(p, program, gen)
	in.since = since
	e.addGeneration(in)
	if len(in.held) > 0 {
		e.hold(true) // before the rules that ask for it
	}
	if err = ctx.Err(); err == nil {
		err = e.Kernel.Activate(gen)
	}
	if err != nil {
		e.hold(e.Holds())
		e.dropGeneration(gen)
		e.unfreed = append(e.unfreed, gen)
		e.retire()
		return nil, fmt.Errorf("activate generation %d: %w", gen, err)
	}
	if old := e.active.Swap(in); old != nil {
		e.replaced(old)
	}
	e.hold(len(in.held) > 0)
	return in, nil
}

// hold opens or closes the gate.
func (e *Enforcer) hold(on bool) {
	if e.Hold != nil {
		e.Hold(on)
	}
}

// retire frees the tables of generations that are not active. What fails is
// tried again before the next change: it costs memory, not protection.
func (e *Enforcer) retire() {
	var left []Generation
	for _, g := range e.unfreed {
		if err := e.Kernel.Retire(g); err != nil {
			left = append(left, g)
			e.log.Warn("cannot free tables", "generation", uint32(g), "error", err)
			e.Raise(CondTablesNotFreed, fmt.Sprintf("retire generation %d: %v", g, err))
		}
	}
	e.unfreed = left
	if len(left) == 0 {
		e.Clear(CondTablesNotFreed)
	}
}

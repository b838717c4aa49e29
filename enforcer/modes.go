package enforcer

import (
	"context"
	"fmt"
	"maps"
	"strconv"

	"example.com/bailiff/internal/event"
)

// Modes says where deny verdicts block, as the kernel was last told. It is not
// to be changed.
func (e *Enforcer) Modes() event.Modes { return *e.modes.Load() }

// Mode is the mode for all.
func (e *Enforcer) Mode() event.Mode { return e.Modes().All }

// ModeChange is one change of the modes.
type ModeChange struct {
	By     string             // who asked, for the record
	Text   string             // what is done, for people
	Fields map[string]string  // further facts for the record
	Change func(*event.Modes) // makes the new ones out of a copy of the present ones
}

// ChangeModes changes where deny verdicts block, and returns what was before.
// Each change is one store in the kernel; a rule's mode is part of the program,
// so a change of one puts a new generation of the same policy in force. On an
// error the former modes stay.
func (e *Enforcer) ChangeModes(ctx context.Context, c ModeChange) (old event.Modes, err error) {
	e.changeMu.Lock()
	defer e.changeMu.Unlock()
	old = e.Modes()
	if err := ctx.Err(); err != nil {
		return old, fmt.Errorf("change mode: %w", err)
	}
	next := old.Clone()
	c.Change(&next)
	if err := e.putModes(ctx, old, next); err != nil {
		return old, fmt.Errorf("change mode: %w", err)
	}
	e.modes.Store(&next)
	fields := map[string]string{"mode": next.All.String(), "old_mode": old.All.String(), "by": c.By}
	if next.All == event.ModeEnforce {
		fields["share"] = event.ShareText(next.Share)
	}
	maps.Copy(fields, c.Fields)
	text := c.Text
	if text == "" {
		text = "mode is " + next.All.String() + ", was " + old.All.String()
	}
	e.log.Info("mode changed", "text", text, "by", c.By)
	e.notice(NoticeModeChange, text, fields)
	e.surveyAfter()
	e.tellStepped()
	return old, nil
}

// putModes tells the kernel. A rule's new mode goes first: if that fails
// nothing has changed.
func (e *Enforcer) putModes(ctx context.Context, old, next event.Modes) error {
	before := e.active.Load()
	staged := !maps.Equal(old.Rules, next.Rules) && before != nil
	if staged {
		if _, err := e.install(ctx, before.policy, next.Rules, before.since); err != nil {
			return err
		}
		e.unfreed = append(e.unfreed, before.gen)
		defer e.retire()
	}
	err := e.Kernel.SetModes(next)
	if err == nil || !staged {
		return err
	}
	// Half of the change is in force: take it back.
	half := e.active.Load()
	if _, back := e.install(context.WithoutCancel(ctx), before.policy, old.Rules, before.since); back != nil {
		return fmt.Errorf("%w; the modes of rules are the new ones: %w", err, back)
	}
	e.unfreed = append(e.unfreed, half.gen)
	return err
}

// blocking lists the ids of the rules in force that may block.
func (in *installed) blocking() map[string]bool {
	out := map[string]bool{}
	for _, r := range in.known {
		if r.Verdict == event.VerdictDeny {
			out[r.Ref.ID] = true
		}
	}
	return out
}

// DenyRules lists the ids of the deny rules in force.
func (e *Enforcer) DenyRules() map[string]bool {
	if in := e.active.Load(); in != nil {
		return in.blocking()
	}
	return nil
}

// stillBlocks reports whether a late answer's rule would block the act now.
func (e *Enforcer) stillBlocks(ev *event.Event, part *answer) bool {
	if part == nil || part.rule == nil {
		return false
	}
	mode, _ := e.Modes().Here(part.rule.ID, false, ev.Process.Cgroup)
	return mode == event.ModeEnforce
}

// generationText names a generation in a record.
func generationText(g Generation) string { return strconv.FormatUint(uint64(g), 10) }

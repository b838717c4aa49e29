package enforcer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Notices of a survey. Enforcement begins with what is opened from then on; what
// is open already stays so, and is told.
const (
	NoticeAlreadyOpen = "already-open" // a file that the rules in force would refuse to open
	NoticeSurvey      = "open-survey"  // all processes have been looked at
)

// mostTold bounds the findings of one survey that are told one by one.
const mostTold = 200

// surveyShare: the survey rests so many times as long as it works.
const surveyShare = 4

// Surveyor is a Kernel that can describe what is open already.
type Surveyor interface {
	// Opened calls f for each process with the files that it has open, as acts,
	// and the number of those that could not be described, until f returns false.
	Opened(ctx context.Context, g Generation, f func(acts []*event.Event, unknown int) bool) error
}

// surveyAfter asks for a survey after a change, if acts may be blocked by now.
func (e *Enforcer) surveyAfter() {
	if _, ok := e.Kernel.(Surveyor); !ok || !e.Modes().Enforces() {
		return
	}
	select {
	case e.surveys <- struct{}{}:
	default: // one is asked for, and has not begun
	}
}

// surveyor makes the surveys that are asked for.
func (e *Enforcer) surveyor(ctx context.Context) {
	var last findings
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.surveys:
			if f, ok := e.survey(ctx, e.Kernel.(Surveyor), last); ok {
				last = f
			}
		}
	}
}

// finding is what is told once of a process image.
type finding struct {
	image      event.ExecID
	path, rule string
}

// findings are those of one survey. What the one before it has told is not told again.
type findings map[finding]bool // true: it has been told

// survey judges what is open as if it were opened now. A policy that is replaced
// meanwhile is not told of any further: its successor has a survey of its own.
// False: it did not come to its end.
func (e *Enforcer) survey(ctx context.Context, s Surveyor, last findings) (findings, bool) {
	in := e.active.Load()
	if in == nil || len(in.program.Rules[event.HookOpen]) == 0 {
		return nil, in != nil
	}
	start := e.Now()
	processes, files, unknown, told := 0, 0, 0, 0
	found := findings{}
	err := s.Opened(ctx, in.gen, func(acts []*event.Event, more int) bool {
		began := time.Now()
		if len(acts) > 0 {
			processes++
		}
		unknown += more
		for _, ev := range acts {
			files++
			f, p, err := e.surveyed(ctx, in, ev)
			if err != nil {
				e.log.Debug("a file that is open cannot be judged", "path", ev.File.Path, "error", err)
				unknown++
			}
			if _, again := found[f]; p == nil || again {
				continue
			}
			if found[f] = last[f]; !found[f] && told < mostTold {
				e.alreadyOpen(f, p, ev)
				found[f] = true
				told++
			}
		}
		// The survey is in no hurry, and others are.
		select {
		case <-ctx.Done():
		case <-time.After(surveyShare * time.Since(began)):
		}
		return ctx.Err() == nil && e.active.Load() == in
	})
	if ctx.Err() != nil || e.active.Load() != in {
		return nil, false
	}
	if err != nil {
		e.log.Error("what is open already is not known", "error", err)
		return nil, false
	}
	text := "nothing is open that the rules in force refuse to open"
	if len(found) > 0 {
		text = fmt.Sprintf("%d files are open that the rules in force refuse to open", len(found))
	}
	e.notice(NoticeSurvey, text, map[string]string{"processes": strconv.Itoa(processes), "files": strconv.Itoa(files), "unknown": strconv.Itoa(unknown),
		"refused": strconv.Itoa(len(found)), "told": strconv.Itoa(told), "took": e.Now().Sub(start).Round(time.Millisecond).String()})
	return found, true
}

// surveyed says whether one file that is open would be refused, and to whom; nil if not.
func (e *Enforcer) surveyed(ctx context.Context, in *installed, ev *event.Event) (finding, *event.Process, error) {
	rule, err := in.denies(ctx, ev)
	if err != nil || rule == nil {
		return finding{}, nil, err
	}
	p := &ev.Process
	if known, ok := e.tree.get(p.ExecID); ok {
		complete(p, &known)
	}
	if mode, _ := e.Modes().Here(rule.Ref.ID, rule.Audit, p.Cgroup); mode != event.ModeEnforce {
		return finding{}, nil, nil
	}
	return finding{p.ExecID, ev.File.Path, rule.Ref.ID}, p, nil
}

func (e *Enforcer) alreadyOpen(f finding, p *event.Process, ev *event.Event) {
	e.notice(NoticeAlreadyOpen, fmt.Sprintf("%s (%d) has %s open already", p.Exe.Path, p.PID, ev.File.Path), map[string]string{
		"pid": strconv.Itoa(int(p.PID)), "exec_id": p.ExecID.String(), "exe": p.Exe.Path, "cgroup": p.Cgroup,
		"path": ev.File.Path, "flags": strings.Join(ev.Open, ","), "rule": f.rule,
	})
}

// denies returns the rule that denies an act and is not for audit only; nil if none does.
func (in *installed) denies(ctx context.Context, ev *event.Event) (*ir.Rule, error) {
	rules := in.program.Rules[ev.Hook.Package()]
	r := in.program.Decide(ev.Hook, ir.KeyOf(ev))
	if slices.ContainsFunc(r.Undecided, func(i int) bool { return r.Rule < 0 || i < r.Rule }) {
		d, err := in.policy.Decide(ctx, ev)
		if err != nil || d.Verdict != event.VerdictDeny || d.Rule == nil {
			return nil, err
		}
		return in.known[keyOfRule(ev.Hook, d.Rule)].Rule, nil
	}
	if r.Verdict != event.VerdictDeny || r.Rule < 0 {
		return nil, nil
	}
	return &rules[r.Rule], nil
}

package enforcer

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.com/bailiff/internal/event"
)

// StepDown says when a rule that suddenly denies much is put into audit mode by
// the agent itself. A rule that is wrong is found by that it stops programs that
// have nothing to do with each other.
type StepDown struct {
	Programs int           // distinct programs of the system that one rule may deny within Window; 0: any number
	Cgroups  int           // distinct services (cgroups); 0: any number
	Window   time.Duration // 0 is a minute
	Never    []string      // ids of rules that never step down
}

// NoticeStepDown: a rule was put into audit mode; fields rule, programs or
// cgroups, window.
const NoticeStepDown = "rule-stepped-down"

// stepper watches what is denied; one goroutine of Run carries out what it asks
// for.
type stepper struct {
	StepDown
	asked chan stepDownOf

	mu      sync.Mutex
	rules   map[string]*ruleDenials
	stepped map[string]string // rule -> what is to be said about it
}

// stepDownOf is one rule that is to step down, and why.
type stepDownOf struct {
	rule string
	what string // programs or cgroups
	list []string
}

// ruleDenials is when a rule last denied each program and each service.
type ruleDenials struct {
	programs, cgroups map[string]time.Time
	asked             bool
}

func newStepper(s StepDown) *stepper {
	if s.Window <= 0 {
		s.Window = time.Minute
	}
	return &stepper{StepDown: s, rules: map[string]*ruleDenials{}, stepped: map[string]string{}, asked: make(chan stepDownOf, 16)}
}

// see takes note of an act that was blocked. A critical rule never steps down:
// what it denies is an attack, however much of it there is.
func (s *stepper) see(ev *event.Event, now time.Time) {
	d := &ev.Decision
	if d.Verdict != event.VerdictDeny || d.Effect == event.EffectNone || d.Rule == nil || d.Rule.ID == "" ||
		d.Rule.Severity == "critical" || slices.Contains(s.Never, d.Rule.ID) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rules[d.Rule.ID]
	if r == nil {
		r = &ruleDenials{programs: map[string]time.Time{}, cgroups: map[string]time.Time{}}
		s.rules[d.Rule.ID] = r
	}
	program := &ev.Process.Exe
	if ev.Hook == event.HookExec {
		program = ev.File
	}
	if ofSystem(program) {
		s.count(r, r.programs, program.Path, s.Programs, now, d.Rule.ID, "programs")
	}
	if unit := event.UnitOf(ev.Process.Cgroup); unit != "" {
		s.count(r, r.cgroups, unit, s.Cgroups, now, d.Rule.ID, "cgroups")
	}
}

func (s *stepper) count(r *ruleDenials, seen map[string]time.Time, name string, most int, now time.Time, rule, what string) {
	if most <= 0 || r.asked {
		return
	}
	seen[name] = now
	if len(seen) <= most {
		return
	}
	for n, at := range seen {
		if now.Sub(at) > s.Window {
			delete(seen, n)
		}
	}
	if len(seen) <= most {
		return
	}
	list := make([]string, 0, len(seen))
	for n := range seen {
		list = append(list, n)
	}
	slices.Sort(list)
	select {
	case s.asked <- stepDownOf{rule, what, list}:
		r.asked = true
		clear(r.programs)
		clear(r.cgroups)
	default: // asked again at the next one
	}
}

// ofSystem reports whether only root may have made a program: what somebody
// else can make at will must not be able to make a rule step down.
func ofSystem(f *event.File) bool {
	return f != nil && f.Path != "" && !f.Unresolved && f.UID == 0 && f.Mode&0o022 == 0 && f.DirUID == 0 && f.DirMode&0o022 == 0 && f.Nlink > 0
}

// stepDown puts rules into audit mode as the stepper asks, until the context
// ends.
func (e *Enforcer) stepDown(ctx context.Context) {
	for {
		var s stepDownOf
		select {
		case <-ctx.Done():
			return
		case s = <-e.steps.asked:
		}
		text := fmt.Sprintf("rule %s denied %d %s within %s and is in audit mode now: %s", s.rule, len(s.list), s.what, e.steps.Window, shortened(s.list))
		_, err := e.ChangeModes(ctx, ModeChange{By: "the agent", Text: text, Fields: map[string]string{"of": "rule " + s.rule, "set": event.ModeAudit.String()},
			Change: func(m *event.Modes) { m.Rules[s.rule] = event.ModeAudit }})
		if err != nil {
			e.log.Error("a rule that denies much stays as it is", "rule", s.rule, "error", err)
			e.Raise(CondSteppedDown, text+", but that failed: "+err.Error())
			continue
		}
		e.notice(NoticeStepDown, text, map[string]string{"rule": s.rule, s.what: strconv.Itoa(len(s.list)), "list": strings.Join(s.list, " "), "window": e.steps.Window.String()})
		e.steps.mu.Lock()
		e.steps.stepped[s.rule] = text
		e.steps.mu.Unlock()
		e.tellStepped()
	}
}

// tellStepped keeps the condition true to the modes: a rule that the operator
// has given another mode, or none, is restored.
func (e *Enforcer) tellStepped() {
	modes := e.Modes()
	e.steps.mu.Lock()
	var left []string
	for id, text := range e.steps.stepped {
		if m, ok := modes.Rules[id]; !ok || m != event.ModeAudit {
			delete(e.steps.stepped, id)
			delete(e.steps.rules, id) // it begins anew
			continue
		}
		left = append(left, text)
	}
	e.steps.mu.Unlock()
	if len(left) == 0 {
		e.Clear(CondSteppedDown)
		return
	}
	slices.Sort(left)
	e.Raise(CondSteppedDown, strings.Join(left, "; "))
}

func shortened(list []string) string {
	if len(list) > 8 {
		list = append(slices.Clone(list[:8]), "...")
	}
	return strings.Join(list, ", ")
}

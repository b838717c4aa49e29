package enforcer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Gatekeeper is a Kernel that knows about execs that wait at the gate.
type Gatekeeper interface {
	// AtGate describes the exec of the file that is open as fd by thread tid.
	// The event is nil where no rule may touch the process. key is equal for
	// acts that share a verdict as long as the file stays what it is; nil when
	// this act shares it with none.
	AtGate(g Generation, fd int, tid int32) (ev *event.Event, key any, err error)
	// RememberHeld stores a verdict where the hook of the exec will find it.
	// enforced says that a deny blocks also where the mode is audit.
	RememberHeld(g Generation, ev *event.Event, v event.Verdict, enforced bool) error
	// GiveAtGate adds to an event of AtGate what the new image will be given, and closes
	// the files of t. A verdict is then for an exec that is given that. The answer is
	// equal for equal ones.
	GiveAtGate(ev *event.Event, t event.Given) (any, error)
	// WaiveAtGate calls mark, after which no question about the file is put, if the
	// kernel itself finds out which execs of it must be asked about.
	WaiveAtGate(ev *event.Event, mark func() error) error
}

// Holder is a Policy with rules for which execs are held.
type Holder interface {
	// Hold is Decide for the held rules that are wanted.
	Hold(ctx context.Context, ev *event.Event, want func(*event.RuleRef) bool) (event.Decision, error)
}

// Held is one exec at the gate that some held rule may concern.
type Held struct {
	e      *Enforcer
	in     *installed
	ev     *event.Event
	fd     int
	key    any
	open   []int // held rules that may hold, in the order in which they win
	answer *heldAnswer
	barred atomic.Bool
	// measured: the answer rests on the content of the file.
	measured bool
}

// AtGate looks at an exec that waits. It asks no policy and waits for nothing;
// nil means that the exec may go on.
func (e *Enforcer) AtGate(fd int, tid int32) *Held {
	in := e.active.Load()
	if in == nil || len(in.held) == 0 {
		return nil
	}
	keeper, ok := e.Kernel.(Gatekeeper)
	if !ok {
		return nil
	}
	h := &Held{e: e, in: in, fd: fd}
	ev, key, err := keeper.AtGate(in.gen, fd, tid)
	if err != nil {
		// Who or what it is cannot be said: every held rule may hold.
		e.counts.add(cntHeldUnknown)
		e.log.Debug("exec at the gate is not known", "tid", tid, "error", err)
		h.open = in.held
		return h
	}
	if ev == nil {
		return nil
	}
	h.ev, h.key = ev, key
	k := ir.KeyOf(ev)
	for _, i := range in.held {
		if _, maybe := h.rule(i).Holds(k); maybe || in.isWeak(event.HookExec, i) {
			h.open = append(h.open, i)
		}
	}
	if len(h.open) == 0 {
		return nil
	}
	return h
}

func (h *Held) rule(i int) *ir.Rule { return &h.in.program.Rules[event.HookExec][i] }

// blocks reports whether a deny of the rule blocks this exec now.
func (h *Held) blocks(r *ir.Rule) bool {
	cgroup := ""
	if h.ev != nil {
		cgroup = h.ev.Process.Cgroup
	}
	mode, _ := h.e.Modes().Here(r.Ref.ID, r.Audit, cgroup)
	return mode == event.ModeEnforce
}

// Default reports whether the exec may go on when no answer comes in time.
func (h *Held) Default() bool { return h.closed() == nil }

// closed returns the first rule that refuses for want of an answer.
func (h *Held) closed() *ir.Rule {
	for _, i := range h.open {
		if r := h.rule(i); r.Undecided == ir.UndecidedDeny && h.blocks(r) {
			return r
		}
	}
	return nil
}

// Barred reports whether Judge waits for the file's content, or the caller's memory.
func (h *Held) Barred() bool { return h.barred.Load() }

// Judge asks the policy, or takes the answer that it gave about an exec with
// the same key, and puts the verdict where the kernel will look for it. known
// is false when there is no answer; barred says that it is the file's fault, or the
// caller's.
func (h *Held) Judge(ctx context.Context) (allow, known, barred bool) {
	if h.ev == nil {
		return false, false, false
	}
	h.barred.Store(true)
	if err := h.digest(ctx); err != nil {
		h.e.log.Debug("a program has no digest", "path", h.ev.File.Path, "error", err)
		return false, false, true
	}
	if err := h.given(ctx); err != nil {
		h.e.counts.add(cntHeldUnread)
		h.e.log.Debug("what an exec is given is not known", "path", h.ev.File.Path, "error", err)
		return false, false, true
	}
	h.barred.Store(false)
	a, shared := h.in.answers.get(ctx, h.key, func() (*heldAnswer, error) { return h.ask(ctx) })
	if a == nil {
		return false, false, false
	}
	h.answer = a
	if shared {
		h.e.counts.add(cntHeldShared)
	}
	// Also when the answer was known: the kernel's tables may have been full,
	// or the verdicts about files thrown away.
	refuses, enforced := h.refusing(a)
	if err := h.e.Kernel.(Gatekeeper).RememberHeld(h.in.gen, h.ev, a.verdict(), enforced); err != nil {
		h.e.counts.add(cntRememberErrors)
		h.e.Raise(CondNotRemembered, fmt.Sprintf("remember a verdict for a held exec: %v", err))
	}
	return refuses == nil, true, false
}

// refusing returns the first rule of an answer that blocks here, nil if none
// does, and whether one of the rules blocks in audit mode too.
func (h *Held) refusing(a *heldAnswer) (first *ir.Rule, enforced bool) {
	if a.part == nil {
		return nil, false
	}
	for _, ref := range firedRules(a.part) {
		r, ok := h.in.known[keyOfRule(event.HookExec, ref)]
		if !ok {
			continue
		}
		if first == nil && h.blocks(r.Rule) {
			first = r.Rule
		}
		enforced = enforced || r.Enforce
	}
	return first, enforced
}

func (h *Held) wanted(ref *event.RuleRef) bool {
	key := keyOfRule(event.HookExec, ref)
	for _, i := range h.open {
		if keyOfRule(event.HookExec, &h.rule(i).Ref) == key {
			return true
		}
	}
	return false
}

// ask evaluates the held rules.
func (h *Held) ask(ctx context.Context) (a *heldAnswer, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("evaluate policy: panic: %v", r)
		}
	}()
	h.e.counts.add(cntHeldEvaluations)
	p, ok := h.in.policy.(Holder)
	if !ok {
		return nil, errors.New("evaluate policy: it holds nothing")
	}
	d, err := p.Hold(ctx, h.ev, h.wanted)
	if err != nil {
		h.e.counts.add(cntEngineErrors)
		h.e.log.Debug("policy gave no answer about a held exec", "revision", h.in.revision, "error", err)
		return nil, err
	}
	if d.Verdict != event.VerdictDeny {
		return &heldAnswer{}, nil
	}
	return &heldAnswer{part: &d}, nil
}

// Waive lets the gate be asked no more about the file, by mark, where the kernel knows
// the answer. Not where that rests on the content: of a change that leaves no trace in the
// inode only who reads the file anew hears.
func (h *Held) Waive(mark func() error) {
	if h.ev == nil || h.answer == nil || h.answer.part != nil || h.measured {
		return
	}
	if err := h.e.Kernel.(Gatekeeper).WaiveAtGate(h.ev, mark); err != nil {
		h.e.log.Debug("the gate is asked about a file each time", "path", h.ev.File.Path, "error", err)
	}
}

// Refused tells the stream of an exec that the gate refused, because of the
// verdict or (unanswered says why) for want of one: no hook will see it. It is
// called after the exec has been answered.
func (h *Held) Refused(ctx context.Context, unanswered string) {
	if h.ev == nil {
		h.e.notice(NoticeFailClosed, "an exec was refused at the gate: nothing is known of it", map[string]string{"reason": unanswered})
		return
	}
	d := &h.ev.Decision
	d.Verdict, d.Effect, d.Revision = event.VerdictDeny, event.EffectRefused, h.in.revision
	var deciding *ir.Rule
	if unanswered == "" && h.answer != nil {
		deciding, _ = h.refusing(h.answer)
	}
	if deciding == nil {
		if deciding = h.closed(); deciding == nil {
			deciding = h.rule(h.open[0]) // the mode has changed meanwhile
		}
		d.Source, d.Undecided = event.SourceDefault, true
		d.Message = "refused because it was not decided in time (" + unanswered + ")"
	} else {
		h.tell(ctx, d, deciding)
	}
	ref := deciding.Ref
	d.Rule = &ref
	d.Mode, d.ModeBy = h.e.Modes().Here(ref.ID, deciding.Audit, h.ev.Process.Cgroup)
	titleAsMessage(d)
	if deciding.Kill && h.e.kill(h.ev) == event.EffectKilled {
		d.Effect = event.EffectKilled
	}
	h.ev.Handle, h.ev.Exec = nil, nil // there is no new image
	h.e.emit(h.ev)
}

// tell fills in what the policy says about a refusal.
func (h *Held) tell(ctx context.Context, d *event.Decision, deciding *ir.Rule) {
	whole := h.answer.part
	// The rules are the same for all with this key, what the heads say is not.
	ctx, cancel := context.WithTimeout(ctx, h.e.Deadline)
	defer cancel()
	if again, err := h.ask(ctx); err == nil && again.part != nil {
		whole = again.part
	}
	d.Source = event.SourceGate
	for i, ref := range firedRules(whole) {
		if keyOfRule(event.HookExec, ref) != keyOfRule(event.HookExec, &deciding.Ref) {
			d.Others = append(d.Others, *ref)
		} else if i == 0 {
			d.Message = whole.Message
		}
	}
}

// Holds reports whether the policy in force has rules for which execs are held.
func (e *Enforcer) Holds() bool {
	in := e.active.Load()
	return in != nil && len(in.held) > 0
}

// heldRules lists the rules of a program that the gate answers for: those of
// which the kernel leaves a part open.
func (in *installed) heldRules() []int {
	var out []int
	for i := range in.program.Rules[event.HookExec] {
		r := &in.program.Rules[event.HookExec][i]
		k, ok := in.known[keyOfRule(event.HookExec, &r.Ref)]
		if ok && k.deferred && r.Held() {
			out = append(out, i)
		}
	}
	return out
}

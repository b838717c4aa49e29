package enforcer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"example.com/bailiff/internal/event"
)

// task is one event that waits for the policy engine.
type task struct {
	in       *installed
	ev       event.Event // the worker's copy: the pipeline may write to its own
	key      string      // decision key
	keyed    bool        // the answer may be stored under key, and this task settles it
	deadline time.Time
	known    atomic.Pointer[answer] // verdict that is known already; only the message is asked for
	effect   event.Effect           // killed, if a known deny was carried out

	state atomic.Uint32 // taskOpen, then one of the others
	done  chan struct{} // closed when res is set
	res   result
}

const (
	taskOpen uint32 = iota
	taskAnswered
	taskGivenUp
)

// result is what the worker found out.
type result struct {
	whole  *event.Decision // the policy's whole answer, nil if there is none
	part   *answer         // the deferred rules' part, nil if it is not known
	effect event.Effect    // killed, if a late deny was carried out
	reason counter         // why there is no answer (cntOpen...)
}

// plan completes an event's decision at once, or returns the task that will.
// It never waits.
func (e *Enforcer) plan(ev *event.Event) *task {
	d := &ev.Decision
	undecided := d.Undecided && (d.Verdict != event.VerdictDeny || d.Source == event.SourceDefault)
	decided := d.Verdict == event.VerdictDeny || d.Verdict == event.VerdictAlert
	if !undecided && !decided && !e.sample(d) {
		return nil
	}
	in := e.generation(Generation(d.Generation))
	if in == nil {
		e.unanswered(ev, cntOpenGeneration)
		return nil
	}
	if d.Revision == "" {
		d.Revision = in.revision
	}
	t := &task{in: in, ev: *ev, deadline: time.Now().Add(e.Deadline), done: make(chan struct{})}
	if !undecided {
		return e.submit(e.recheck, ev, t)
	}
	key, ok := in.policy.KeyOf(ev)
	if !ok || len(in.weak[ev.Hook.Package()]) > 0 || in.blind(ev) {
		e.counts.add(cntUncacheable)
		return e.submit(e.judge, ev, t)
	}
	t.key, t.keyed = key, true
	ans, shared := in.cache.look(t)
	switch {
	case shared:
		e.counts.add(cntCacheShared)
		return t
	case ans == nil:
		return e.submit(e.judge, ev, t)
	}
	e.counts.add(cntCacheHits)
	t.keyed = false
	if ans.verdict == event.VerdictAllow && d.Verdict != event.VerdictAlert {
		e.apply(ev, in, &result{part: ans})
		return nil
	}
	t.known.Store(ans)
	if condemns(d, ans) && e.stillBlocks(ev, ans) {
		t.effect = e.kill(ev)
	}
	return e.submit(e.recheck, ev, t)
}

// sample picks allowed acts to be re-checked.
func (e *Enforcer) sample(d *event.Decision) bool {
	if e.SampleEvery == 0 || d.Verdict != event.VerdictAllow {
		return false
	}
	if e.seen++; e.seen < e.SampleEvery {
		return false
	}
	e.seen = 0
	e.counts.add(cntSampled)
	return true
}

// submit queues a task, or completes its event without the policy if the queue
// is full.
func (e *Enforcer) submit(queue chan *task, ev *event.Event, t *task) *task {
	select {
	case queue <- t:
		return t
	default:
	}
	e.fail(t, cntOpenQueue)
	e.apply(ev, t.in, &t.res)
	return nil
}

// work is a worker: undecided acts first.
func (e *Enforcer) work(ctx context.Context, stop <-chan struct{}) {
	for {
		var t *task
		select {
		case t = <-e.judge:
		default:
			select {
			case t = <-e.judge:
			case t = <-e.recheck:
			case <-stop:
				return
			}
		}
		e.evaluate(ctx, t)
	}
}

// evaluate asks the policy about one task and answers it and those who wait
// for the same key.
func (e *Enforcer) evaluate(ctx context.Context, t *task) {
	// Nobody waits for this any more. An answer that can be kept is worth having
	// even so, but not while others still wait: under a flood the workers would
	// be busy with the past for ever.
	if t.state.Load() == taskGivenUp && (!t.keyed || len(e.judge) > 0) {
		e.counts.add(cntStale)
		e.fail(t, cntOpenDeadline)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, e.Deadline)
	defer cancel()
	e.counts.add(cntEvaluations)
	began := time.Now()
	whole, err := decide(ctx, t)
	if e.Evaluated != nil {
		e.Evaluated(t.ev.Hook, time.Since(began))
	}
	// An evaluation that outlived Run finds kernel and sinks gone.
	e.overMu.RLock()
	defer e.overMu.RUnlock()
	if e.over {
		return
	}
	if err != nil {
		reason := cntOpenEngine
		if errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			reason = cntOpenDeadline
		}
		e.counts.add(cntEngineErrors)
		e.log.Debug("policy gave no answer", "hook", t.ev.Hook.String(), "revision", t.in.revision, "error", err)
		e.fail(t, reason)
		return
	}
	if whole.Verdict == event.VerdictNone {
		whole.Verdict = event.VerdictAllow
	}
	if t.ev.Decision.Undecided && whole.Verdict == event.VerdictAllow && t.in.blind(&t.ev) {
		e.fail(t, cntOpenDigest) // the others allow it, which is no answer
		return
	}
	part, ok := t.in.deferredPart(t.ev.Hook, &whole)
	if !ok {
		part = nil
	}
	res := result{whole: &whole, part: part}
	if !t.keyed {
		e.answer(t, res)
		return
	}
	if kept, ok := t.in.keptPart(t.ev.Hook, &whole); ok {
		e.remember(t, kept)
	}
	waited, evicted := t.in.cache.settle(t.key, part)
	if evicted {
		e.counts.add(cntCacheEvicted)
	}
	e.answer(t, res)
	for _, w := range waited {
		e.serve(w, part)
	}
}

// decide asks the policy. A panic in there is an error like any other: the
// agent must outlive it, or enforcement ends by a crafted act.
func decide(ctx context.Context, t *task) (d event.Decision, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("evaluate policy: panic: %v", r)
		}
	}()
	if r, ok := t.in.policy.(Rechecker); ok {
		return r.Recheck(ctx, &t.ev)
	}
	return t.in.policy.Decide(ctx, &t.ev)
}

// serve answers a task that waited for another one's evaluation. The verdict
// is the same; a message has to be made for each.
func (e *Enforcer) serve(w *task, part *answer) {
	w.keyed = false
	if part == nil {
		e.fail(w, cntOpenEngine)
		return
	}
	if part.verdict == event.VerdictAllow && w.ev.Decision.Verdict != event.VerdictAlert {
		e.answer(w, result{part: part})
		return
	}
	w.known.Store(part)
	select {
	case e.recheck <- w:
	default:
		e.answer(w, result{part: part})
	}
}

// remember puts a verdict into the kernel, so that the next such act is
// decided before it happens. A deny that only audits is not put there: the
// kernel would refuse by it. Nor is an alert of a rule of which the kernel
// decides some clauses itself: its key covers the uncertain ones only, and the
// alert may have come from the others. (A deny cannot: it would not be asked.)
func (e *Enforcer) remember(t *task, part *answer) {
	if e.active.Load() != t.in || part.verdict == event.VerdictDeny && !part.blocks ||
		part.verdict == event.VerdictAlert && part.mixed {
		return
	}
	err := e.Kernel.Remember(t.in.gen, &t.ev, part.verdict, part.enforced)
	if errors.Is(err, errors.ErrUnsupported) {
		e.counts.add(cntNotKept)
		return
	}
	if err != nil {
		e.counts.add(cntRememberErrors)
		e.Raise(CondNotRemembered, fmt.Sprintf("remember a verdict for %s: %v", t.ev.Hook, err))
		return
	}
	e.counts.add(cntRemembered)
	e.Clear(CondNotRemembered)
}

// answer resolves a task, and kills the offender if a late verdict says so:
// here rather than in the emitter, because each microsecond counts.
func (e *Enforcer) answer(t *task, res result) {
	inTime := t.state.CompareAndSwap(taskOpen, taskAnswered)
	res.effect = t.effect
	if res.effect == event.EffectNone && condemns(&t.ev.Decision, res.part) && e.stillBlocks(&t.ev, res.part) {
		res.effect = e.kill(&t.ev)
		if !inTime && res.effect == event.EffectKilled {
			e.noticeKill(t, res.part)
		}
	}
	if !inTime {
		e.counts.add(cntAfterDeadline)
		return
	}
	t.res = res
	close(t.done)
}

// condemns reports whether a late answer asks for the offender's life: the
// deciding rule says so, the mode was enforce at the time of the act (or the
// rule's own is, and the cgroup had none), and nothing was done yet.
func condemns(d *event.Decision, part *answer) bool {
	if part == nil || !part.kill || !d.Undecided || d.Effect != event.EffectNone {
		return false
	}
	return d.Mode == event.ModeEnforce || part.enforced && d.ModeBy != event.ByCgroup
}

func (e *Enforcer) kill(ev *event.Event) event.Effect {
	err := e.Killer.Kill(&ev.Process)
	if err == nil {
		e.counts.add(cntKills)
		return event.EffectKilled
	}
	e.counts.add(cntKillErrors)
	e.log.Warn("late verdict not carried out", "pid", ev.Process.PID, "exec_id", ev.Process.ExecID.String(), "error", err)
	if !errors.Is(err, ErrGone) {
		e.Raise(CondLateKillFailed, err.Error())
	}
	return event.EffectNone
}

// noticeKill tells of a kill whose event has left already.
func (e *Enforcer) noticeKill(t *task, part *answer) {
	p := &t.ev.Process
	e.notice(NoticeLateKill, "killed after its event had left", map[string]string{
		"pid":     strconv.Itoa(int(p.PID)),
		"exec_id": p.ExecID.String(),
		"hook":    t.ev.Hook.String(),
		"rule":    part.rule.ID,
	})
}

// fail resolves a task, and those who wait for its key, without an answer of
// the policy; a verdict that is known already stands.
func (e *Enforcer) fail(t *task, reason counter) {
	if t.keyed {
		waited, _ := t.in.cache.settle(t.key, nil)
		for _, w := range waited {
			w.keyed = false
			e.fail(w, reason)
		}
	}
	if t.state.CompareAndSwap(taskOpen, taskAnswered) {
		t.res = t.withoutAnswer(reason)
		close(t.done)
	}
}

// withoutAnswer is the result when the policy said nothing: what was known.
func (t *task) withoutAnswer(reason counter) result {
	return result{part: t.known.Load(), effect: t.effect, reason: reason}
}

package enforcer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"example.com/bailiff/internal/event"
)

// The rules of most tests: /bad is refused by the kernel, /watched reported,
// below /maybe/ only the policy knows: /maybe/bad is refused.
func mixed() *fakePolicy {
	return &fakePolicy{revision: "r1", rules: []fakeRule{
		lowered("no-bad", event.VerdictDeny, "/bad"),
		deferred("no-maybe-bad", event.VerdictDeny, "/maybe/", "/maybe/bad"),
		lowered("watch", event.VerdictAlert, "/watched"),
	}}
}

func TestDecidedInKernel(t *testing.T) {
	r := start(t, mixed(), nil)
	for i, path := range []string{"/bad", "/watched", "/fine"} {
		r.kernel.act(execOf(int32(i+2), path))
	}
	r.stop()
	got := r.sink.acts()
	for i, want := range []struct {
		verdict event.Verdict
		effect  event.Effect
		message string
	}{
		{event.VerdictDeny, event.EffectRefused, "no-bad says no to /bad (pid 2)"},
		{event.VerdictAlert, event.EffectNone, "watch says no to /watched (pid 3)"},
		{event.VerdictAllow, event.EffectNone, ""},
	} {
		d := got[i].Decision
		if d.Verdict != want.verdict || d.Effect != want.effect || d.Message != want.message || d.Divergence || d.Late {
			t.Errorf("event %d: %+v", i, d)
		}
	}
	if n := r.policy.calls.Load(); n != 2 {
		t.Errorf("policy was asked %d times; nobody judged /fine, so 2 are right", n)
	}
}

func TestUndecidedIsAnsweredOnceAndRemembered(t *testing.T) {
	r := start(t, mixed(), nil)
	r.kernel.act(execOf(2, "/maybe/bad"))
	r.kernel.act(execOf(3, "/maybe/good"))
	first := r.sink.waitActs(t, 2)
	r.kernel.act(execOf(4, "/maybe/bad"))
	r.kernel.act(execOf(5, "/maybe/good"))
	r.stop()

	if d := first[0].Decision; d.Verdict != event.VerdictDeny || !d.Late || d.Source != event.SourceEngine ||
		d.Effect != event.EffectNone || d.Rule.ID != "no-maybe-bad" || d.Divergence {
		t.Errorf("first act: %+v", d)
	}
	if d := first[1].Decision; d.Verdict != event.VerdictAllow || !d.Late || d.Source != event.SourceEngine {
		t.Errorf("first innocent act: %+v", d)
	}
	again := r.sink.acts()[2:]
	if d := again[0].Decision; d.Effect != event.EffectRefused || d.Source != event.SourceCache || d.Late ||
		d.Rule == nil || d.Rule.ID != "no-maybe-bad" || d.Message != "no-maybe-bad says no to /maybe/bad (pid 4)" {
		t.Errorf("second act was not decided in the kernel: %+v", d)
	}
	if d := again[1].Decision; d.Verdict != event.VerdictAllow || d.Late || d.Undecided {
		t.Errorf("second innocent act: %+v", d)
	}
	if n := r.policy.calls.Load(); n != 3 {
		t.Errorf("policy was asked %d times, want 3: two judgements and one explanation", n)
	}
}

func TestNotCacheable(t *testing.T) {
	p := mixed()
	p.uncached = true
	r := start(t, p, nil)
	for pid := range int32(3) {
		r.kernel.act(execOf(pid+2, "/maybe/bad"))
	}
	r.stop()
	if n := p.calls.Load(); n != 3 {
		t.Errorf("policy was asked %d times for 3 acts", n)
	}
	if len(r.kernel.remembered) != 0 || r.Status().Cached != 0 {
		t.Errorf("stored: kernel %v, own %d", r.kernel.remembered, r.Status().Cached)
	}
}

// A lowered alert and a deferred deny on one act: only what the deferred rule
// said may be stored under its key.
func TestStoresOnlyTheDeferredPart(t *testing.T) {
	p := &fakePolicy{revision: "r1", rules: []fakeRule{
		deferred("never", event.VerdictDeny, "/", "/nothing"),
		lowered("watch", event.VerdictAlert, "/watched"),
	}}
	r := start(t, p, nil)
	r.kernel.act(execOf(2, "/watched"))
	r.stop()
	if d := r.sink.acts()[0].Decision; d.Verdict != event.VerdictAlert || d.Source != event.SourceTable || d.Late {
		t.Errorf("decision: %+v", d)
	}
	if v := r.kernel.remembered["1 /watched"]; v != event.VerdictAllow {
		t.Errorf("remembered %v", v)
	}
}

// The kernel would refuse by a stored deny, so one that only audits is not stored.
func TestAuditRuleIsNotRemembered(t *testing.T) {
	rule := deferred("audited", event.VerdictDeny, "/maybe/", "/maybe/bad")
	rule.rule.Audit, rule.rule.Kill = true, true
	killer := &fakeKiller{}
	r := start(t, &fakePolicy{revision: "r1", rules: []fakeRule{rule}}, func(o *Options) { o.Killer = killer })
	r.kernel.act(execOf(2, "/maybe/bad"))
	r.sink.waitActs(t, 1)
	r.kernel.act(execOf(3, "/maybe/bad"))
	r.stop()
	for _, ev := range r.sink.acts() {
		if d := ev.Decision; d.Verdict != event.VerdictDeny || d.Effect != event.EffectNone {
			t.Errorf("decision: %+v", d)
		}
	}
	if len(r.kernel.remembered) != 0 || len(killer.pids) != 0 {
		t.Errorf("remembered %v, killed %v", r.kernel.remembered, killer.pids)
	}
}

type fakeKiller struct {
	mu   sync.Mutex
	pids []int32
	err  error
}

func (k *fakeKiller) Kill(p *event.Process) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pids = append(k.pids, p.PID)
	return k.err
}

func TestLateKill(t *testing.T) {
	for _, tt := range []struct {
		name   string
		mode   event.Mode
		kill   bool
		err    error
		killed int
		effect event.Effect
		cond   bool
	}{
		{"asked for", event.ModeEnforce, true, nil, 1, event.EffectKilled, false},
		{"not asked for", event.ModeEnforce, false, nil, 0, event.EffectNone, false},
		{"audit", event.ModeAudit, true, nil, 0, event.EffectNone, false},
		{"gone", event.ModeEnforce, true, fmt.Errorf("kill: %w", ErrGone), 1, event.EffectNone, false},
		{"forbidden", event.ModeEnforce, true, errors.New("EPERM"), 1, event.EffectNone, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, killer := mixed(), &fakeKiller{err: tt.err}
			p.rules[1].rule.Kill = tt.kill
			r := start(t, p, func(o *Options) { o.Killer, o.Modes.All = killer, tt.mode })
			r.kernel.act(execOf(2, "/maybe/bad"))
			r.stop()
			if d := r.sink.acts()[0].Decision; d.Effect != tt.effect || d.Verdict != event.VerdictDeny {
				t.Errorf("decision: %+v", d)
			}
			if len(killer.pids) != tt.killed || r.raised(CondLateKillFailed) != tt.cond {
				t.Errorf("killed %v, conditions %v", killer.pids, r.Conditions())
			}
		})
	}
}

func TestEngineErrorIsFailOpenAndNotStored(t *testing.T) {
	p := mixed()
	p.before = func(context.Context, *event.Event) error { return errors.New("eval_conflict_error") }
	r := start(t, p, nil)
	r.kernel.act(execOf(2, "/maybe/good"))
	r.kernel.act(execOf(3, "/bad"))
	r.sink.waitActs(t, 2)
	r.pollOnce()
	r.stop()
	if d := r.sink.acts()[0].Decision; d.FailOpen != "engine_error" || d.Source == event.SourceEngine || d.Late {
		t.Errorf("undecided act: %+v", d)
	}
	if d := r.sink.acts()[1].Decision; d.FailOpen != "" || d.Effect != event.EffectRefused || d.Message != "Title of no-bad" {
		t.Errorf("refused act: %+v", d)
	}
	if r.Status().Cached != 0 || len(r.kernel.remembered) != 0 {
		t.Error("an error was stored")
	}
	if n := r.sink.notices(NoticeFailOpen); len(n) != 1 || n[0].Fields["engine_error"] != "1" || !r.raised(CondFailOpen) {
		t.Errorf("fail-open notices: %+v", n)
	}
}

func TestEnginePanic(t *testing.T) {
	p := mixed()
	p.before = func(_ context.Context, ev *event.Event) error {
		if ev.Process.PID == 2 {
			panic("index out of range")
		}
		return nil
	}
	r := start(t, p, nil)
	r.kernel.act(execOf(2, "/maybe/bad"))
	r.sink.waitActs(t, 1)
	r.kernel.act(execOf(3, "/maybe/bad"))
	r.stop()
	if a, b := r.sink.acts()[0].Decision, r.sink.acts()[1].Decision; a.FailOpen != "engine_error" || b.Verdict != event.VerdictDeny {
		t.Errorf("first %+v, second %+v", a, b)
	}
}

// One evaluation hangs and ignores its deadline. What came after it is not
// held longer than the deadline, the order stays, and the answer, when it
// comes, serves the next act.
func TestSlowEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := mixed(), make(chan struct{})
		p.before = func(_ context.Context, ev *event.Event) error {
			if ev.Process.PID == 2 {
				<-release
			}
			return nil
		}
		r := start(t, p, func(o *Options) { o.Deadline = 100 * time.Millisecond })
		began := time.Now()
		r.kernel.act(execOf(2, "/maybe/bad"))
		r.kernel.act(execOf(3, "/bad"))
		r.kernel.act(execOf(4, "/fine"))
		got := r.sink.waitActs(t, 3)
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("events were held for %s", took)
		}
		for i, pid := range []int32{2, 3, 4} {
			if got[i].Process.PID != pid {
				t.Errorf("place %d: pid %d", i, got[i].Process.PID)
			}
		}
		if d := got[0].Decision; d.FailOpen != "engine_deadline" {
			t.Errorf("slow act: %+v", d)
		}
		close(release)
		synctest.Wait()
		if v := r.kernel.remembered["1 /maybe/bad"]; v != event.VerdictDeny {
			t.Errorf("late answer was not remembered: %v", r.kernel.remembered)
		}
		r.stop()
		if n := r.count("policy_answers_after_deadline"); n != 1 {
			t.Errorf("answers after deadline: %d", n)
		}
	})
}

// A verdict that comes after its event left still ends the offender, and is told.
func TestKillAfterEventLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release, killer := mixed(), make(chan struct{}), &fakeKiller{}
		p.rules[1].rule.Kill = true
		p.before = func(context.Context, *event.Event) error { <-release; return nil }
		r := start(t, p, func(o *Options) { o.Killer = killer })
		r.kernel.act(execOf(2, "/maybe/bad"))
		r.sink.waitActs(t, 1)
		close(release)
		r.stop()
		if n := r.sink.notices(NoticeLateKill); len(killer.pids) != 1 || len(n) != 1 || n[0].Fields["pid"] != "2" || n[0].Fields["rule"] != "no-maybe-bad" {
			t.Errorf("killed %v, notices %+v", killer.pids, n)
		}
	})
}

// All workers hang: the queue fills, the rest passes at once, counted.
func TestQueueFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := mixed(), make(chan struct{})
		p.uncached = true
		p.before = func(context.Context, *event.Event) error { <-release; return nil }
		r := start(t, p, func(o *Options) { o.Workers, o.Queue, o.Deadline = 2, 3, time.Hour })
		for pid := range int32(2) {
			r.kernel.act(execOf(pid+2, "/maybe/good"))
		}
		synctest.Wait() // both workers have one
		for pid := range int32(5) {
			r.kernel.act(execOf(pid+4, "/maybe/good"))
		}
		synctest.Wait()
		close(release)
		r.stop()
		open := 0
		for _, ev := range r.sink.acts() {
			if ev.Decision.FailOpen == "queue_full" {
				open++
			}
		}
		if open != 2 || r.count("fail_open_queue_full") != 2 {
			t.Errorf("%d events failed open, counted %d, want 2", open, r.count("fail_open_queue_full"))
		}
	})
}

// A pipeline that is half full does not wait for the engine any more.
func TestBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := mixed(), make(chan struct{})
		p.before = func(context.Context, *event.Event) error { <-release; return nil }
		r := start(t, p, func(o *Options) { o.Pipeline, o.Deadline = 8, time.Hour })
		r.kernel.act(execOf(2, "/maybe/first"))
		synctest.Wait() // the emitter waits for it
		for pid := range int32(6) {
			r.kernel.act(execOf(pid+3, fmt.Sprint("/maybe/", pid)))
		}
		synctest.Wait()
		if got := r.sink.acts(); len(got) == 0 || got[0].Decision.FailOpen != "pipeline_behind" {
			t.Errorf("all wait: %d have left", len(got))
		}
		close(release)
		r.stop()
	})
}

// The policy changes while an act of the former one is judged: its answer is
// of no use to the kernel any more.
func TestAnswerOfFormerPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := mixed(), make(chan struct{})
		p.before = func(context.Context, *event.Event) error { <-release; return nil }
		r := start(t, p, nil)
		r.kernel.act(execOf(2, "/maybe/bad"))
		synctest.Wait()
		if err := r.SetPolicy(t.Context(), simple("r2")); err != nil {
			t.Fatal(err)
		}
		close(release)
		r.stop()
		if d := r.sink.acts()[0].Decision; d.Verdict != event.VerdictDeny || d.Generation != 1 || d.Revision != "r1" {
			t.Errorf("decision: %+v", d)
		}
		if len(r.kernel.remembered) != 0 {
			t.Errorf("remembered %v", r.kernel.remembered)
		}
	})
}

// An evaluation that outlives Run changes nothing when it ends.
func TestAnswerAfterRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release, killer := mixed(), make(chan struct{}), &fakeKiller{}
		p.rules[1].rule.Kill = true
		p.before = func(context.Context, *event.Event) error { <-release; return nil }
		r := start(t, p, func(o *Options) { o.Killer = killer })
		r.kernel.act(execOf(2, "/maybe/bad"))
		r.stop()
		close(release)
		synctest.Wait()
		r.kernel.mu.Lock()
		defer r.kernel.mu.Unlock()
		if len(r.kernel.remembered) != 0 || len(killer.pids) != 0 {
			t.Errorf("remembered %v, killed %v", r.kernel.remembered, killer.pids)
		}
	})
}

func TestSingleflight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := mixed(), make(chan struct{})
		p.before = func(context.Context, *event.Event) error { <-release; return nil }
		r := start(t, p, nil)
		for pid := range int32(20) {
			r.kernel.act(execOf(pid+2, "/maybe/good"))
		}
		synctest.Wait()
		close(release)
		r.stop()
		if n := p.calls.Load(); n != 1 {
			t.Errorf("policy was asked %d times for one key", n)
		}
		for _, ev := range r.sink.acts() {
			if d := ev.Decision; d.Verdict != event.VerdictAllow || d.Source != event.SourceEngine {
				t.Errorf("decision: %+v", d)
			}
		}
	})
}

// Those who waited for a deny each get a message of their own.
func TestSharedDenyHasOwnMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := mixed(), make(chan struct{})
		p.before = func(context.Context, *event.Event) error { <-release; return nil }
		r := start(t, p, nil)
		for pid := range int32(3) {
			r.kernel.act(execOf(pid+2, "/maybe/bad"))
		}
		synctest.Wait()
		close(release)
		r.stop()
		for _, ev := range r.sink.acts() {
			want := fmt.Sprintf("no-maybe-bad says no to /maybe/bad (pid %d)", ev.Process.PID)
			if d := ev.Decision; d.Verdict != event.VerdictDeny || d.Message != want {
				t.Errorf("decision: %+v", d)
			}
		}
	})
}

func TestCacheBound(t *testing.T) {
	r := start(t, mixed(), func(o *Options) { o.CacheSize = 10 })
	for i := range 50 {
		r.kernel.act(execOf(int32(i+2), fmt.Sprint("/maybe/", i)))
	}
	r.stop()
	if s := r.Status(); s.Cached != 10 || s.Counters["cache_evicted"] != 40 {
		t.Errorf("%d cached, %d evicted", s.Cached, s.Counters["cache_evicted"])
	}
	if in := r.active.Load(); len(in.cache.pending) != 0 || in.cache.recent.Len() != 10 {
		t.Errorf("%d pending, %d in order", len(in.cache.pending), in.cache.recent.Len())
	}
}

func TestUnknownGeneration(t *testing.T) {
	r := start(t, mixed(), nil)
	ev := r.kernel.decide(execOf(2, "/maybe/good"))
	ev.Decision.Generation = 77
	r.kernel.events <- ev
	r.stop()
	if d := r.sink.acts()[0].Decision; d.FailOpen != "unknown_generation" {
		t.Errorf("decision: %+v", d)
	}
}

// A fail-closed default is told apart from a verdict: the act was refused
// because nobody knew, and stays so in the record.
func TestRefusedWhileUndecided(t *testing.T) {
	r := start(t, mixed(), nil)
	for i, path := range []string{"/maybe/good", "/maybe/bad"} {
		ev := r.kernel.decide(execOf(int32(i+2), path))
		d := &ev.Decision
		d.Verdict, d.Source, d.Effect = event.VerdictDeny, event.SourceDefault, event.EffectRefused
		r.kernel.events <- ev
	}
	r.stop()
	for i, want := range []event.Verdict{event.VerdictAllow, event.VerdictDeny} {
		ev := r.sink.acts()[i]
		d := ev.Decision
		if d.Verdict != event.VerdictDeny || d.Effect != event.EffectRefused || d.Source != event.SourceDefault || d.Divergence || d.Message == "" {
			t.Errorf("decision: %+v", d)
		}
		if got := r.kernel.remembered["1 "+ev.File.Path]; got != want {
			t.Errorf("%s: remembered %v, want %v", ev.File.Path, got, want)
		}
	}
}

func TestRememberFails(t *testing.T) {
	for _, tt := range []struct {
		err  error
		cond bool
	}{{errors.New("map is full"), true}, {fmt.Errorf("name too long: %w", errors.ErrUnsupported), false}} {
		r := start(t, mixed(), nil)
		r.kernel.set("remember", tt.err)
		r.kernel.act(execOf(2, "/maybe/good"))
		r.sink.waitActs(t, 1)
		if r.raised(CondNotRemembered) != tt.cond {
			t.Errorf("%v: conditions %+v", tt.err, r.Conditions())
		}
		r.kernel.set("remember", nil)
		r.kernel.act(execOf(3, "/maybe/better"))
		r.stop()
		if r.raised(CondNotRemembered) || r.count("verdicts_remembered") != 1 {
			t.Errorf("%v: conditions %+v", tt.err, r.Conditions())
		}
	}
}

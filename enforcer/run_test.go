package enforcer

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

func TestNewWantsKernelAndPolicy(t *testing.T) {
	for _, o := range []Options{{}, {Kernel: newFakeKernel()}, {Policy: simple("r")}} {
		if _, err := New(o); err == nil {
			t.Errorf("no error for %+v", o)
		}
	}
}

// The end of the context: what is still in the ring is handled, every
// goroutine ends (a bubble does not end before), Run returns nil.
func TestContextEndDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, release := mixed(), make(chan struct{})
		p.before = func(context.Context, *event.Event) error { <-release; return nil }
		r := start(t, p, func(o *Options) {
			k := o.Kernel.(*fakeKernel)
			k.events = make(chan *event.Event, 10)
		})
		r.kernel.act(exec2("/maybe/bad"))
		synctest.Wait()
		for range 5 {
			r.kernel.act(exec2("/fine"))
		}
		r.cancel()
		close(release)
		if err := <-r.ended; err != nil {
			t.Error("run:", err)
		}
		got := r.sink.acts()
		if len(got) != 6 || got[0].Decision.Verdict != event.VerdictDeny {
			t.Errorf("%d acts, first %+v", len(got), got[0].Decision)
		}
		if last := r.sink.all[len(r.sink.all)-1]; last.Agent == nil || last.Agent.Code != NoticeStopped {
			t.Errorf("last is %+v", last)
		}
	})
}

func exec2(path string) *event.Event { return execOf(2, path) }

func TestReadError(t *testing.T) {
	k := newFakeKernel()
	e, err := New(Options{Kernel: brokenKernel{k}, Policy: simple("r1")})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "read event: ring is gone") {
		t.Errorf("run: %v", err)
	}
}

type brokenKernel struct{ *fakeKernel }

func (brokenKernel) Next(context.Context) (*event.Event, error) {
	return nil, errors.New("ring is gone")
}

func TestDropsAreToldAndEnd(t *testing.T) {
	r := start(t, simple("r1"), nil)
	count := func(name string, n uint64) {
		r.kernel.mu.Lock()
		defer r.kernel.mu.Unlock()
		r.kernel.counters[name] = n
	}
	r.pollOnce()
	if n := r.sink.notices(NoticeEventsDropped); len(n) != 0 {
		t.Errorf("notice without a drop: %+v", n[0])
	}
	count("drop_ring_full", 7)
	count("drop_path", 1)
	count("fail_open_no_task_storage", 2)
	r.pollOnce()
	count("drop_ring_full", 10)
	r.pollOnce()
	drops := r.sink.notices(NoticeEventsDropped)
	if len(drops) != 2 || drops[0].Fields["ring_full"] != "7" || drops[0].Fields["path"] != "1" || drops[1].Fields["ring_full"] != "3" {
		t.Errorf("notices: %+v", drops)
	}
	if drops[0].Text != "8 events lost: path 1, ring_full 7" {
		t.Errorf("text: %s", drops[0].Text)
	}
	if n := r.sink.notices(NoticeFailOpen); len(n) != 1 || n[0].Fields["no_task_storage"] != "2" {
		t.Errorf("fail-open notices: %+v", n)
	}
	for range quietPolls - 1 {
		r.pollOnce()
	}
	if !r.raised(CondEventsDropped) {
		t.Error("condition ended early")
	}
	r.pollOnce()
	if r.raised(CondEventsDropped) || r.raised(CondFailOpen) {
		t.Errorf("conditions: %+v", r.Conditions())
	}
	r.kernel.set("counters", errors.New("map is gone"))
	r.pollOnce()
	if !r.raised(CondCountersUnread) || len(r.sink.notices(NoticeEventsDropped)) != 2 {
		t.Errorf("conditions: %+v", r.Conditions())
	}
	r.kernel.set("counters", nil)
	r.pollOnce()
	if r.raised(CondCountersUnread) || len(r.sink.notices(NoticeEventsDropped)) != 2 {
		t.Errorf("conditions: %+v", r.Conditions())
	}
	if n := r.count("kernel_drop_ring_full"); n != 10 {
		t.Errorf("status counts %d drops", n)
	}
	r.stop()
}

// TestUnreadActsAreNumbered: what the kernel told and nobody read before the end
// is a hole in the numbers, of exactly that size.
func TestUnreadActsAreNumbered(t *testing.T) {
	r := start(t, simple("r1"), nil)
	r.kernel.mu.Lock()
	r.kernel.counters["acts"] = 12
	r.kernel.mu.Unlock()
	close(r.kernel.events)
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	r.cancel()
	stopped := r.sink.all[len(r.sink.all)-1]
	if stopped.Agent == nil || stopped.Agent.Code != NoticeStopped || stopped.Seq != uint64(len(r.sink.all))+12 {
		t.Errorf("of %d events the last one is %+v", len(r.sink.all), stopped)
	}
}

func TestConditions(t *testing.T) {
	now := time.Unix(1000, 0)
	sink := newRecorder()
	e, err := New(Options{Kernel: newFakeKernel(), Policy: simple("r1"), Sinks: []Sink{sink}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	e.Raise("no-such-condition", "x")
	e.Raise(CondSinkFailing, "disk is full")
	now = now.Add(time.Minute)
	e.Raise(CondSinkFailing, "disk is still full")
	c := e.Conditions()
	if len(c) != 1 || !c[0].Since.Equal(time.Unix(1000, 0)) || c[0].Text != "disk is still full" || c[0].Severity != SeverityMedium {
		t.Errorf("conditions: %+v", c)
	}
	e.Clear(CondSinkFailing)
	e.Clear(CondSinkFailing)
	if len(e.Conditions()) != 0 || len(sink.notices(NoticeConditionRaised)) != 1 {
		t.Errorf("conditions: %+v", e.Conditions())
	}
	if n := sink.notices(NoticeConditionCleared); len(n) != 1 || n[0].Fields["lasted"] != "1m0s" {
		t.Errorf("cleared: %+v", n)
	}
}

func TestDeclaredConditions(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range declaredConditions {
		if seen[c.Code] || c.Code == "" || c.Remedy == "" || c.Severity == "" {
			t.Errorf("condition %+v", c)
		}
		seen[c.Code] = true
	}
	for i, n := range counterNames {
		if n == "" {
			t.Errorf("counter %d has no name", i)
		}
	}
}

func TestPidfdKiller(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	ticks, err := startTicks(pid)
	if err != nil {
		t.Fatal(err)
	}
	start := ticks*clockTick + 1234
	var k PidfdKiller
	if err := k.Kill(&event.Process{PID: int32(pid), Start: start + clockTick}); !errors.Is(err, ErrGone) {
		t.Errorf("killed a process with another start time: %v", err)
	}
	for _, pid := range []int{0, 1, unix.Getpid(), -5} {
		if err := k.Kill(&event.Process{PID: int32(pid)}); err == nil {
			t.Errorf("killed %d", pid)
		}
	}
	if err := k.Kill(&event.Process{PID: int32(pid), Start: start}); err != nil {
		t.Error(err)
	}
	<-ended
	if s := cmd.ProcessState.Sys().(interface{ Signal() unix.Signal }).Signal(); s != unix.SIGKILL {
		t.Errorf("ended by %s", s)
	}
	if err := k.Kill(&event.Process{PID: int32(pid), Start: start}); !errors.Is(err, ErrGone) {
		t.Errorf("killed a process that is gone: %v", err)
	}
}

// BenchmarkLoop is what one event costs between ring and sinks.
func BenchmarkLoop(b *testing.B) {
	for _, c := range []struct{ name, path string }{{"exec no rule", "/fine"}, {"exec cached deferred verdict", "/maybe/good"}} {
		b.Run(c.name, func(b *testing.B) {
			k := &loopKernel{fakeKernel: newFakeKernel(), n: b.N, path: c.path}
			e, err := New(Options{Kernel: k, Policy: mixed(), Sinks: []Sink{nowhere{}}, Deadline: time.Minute})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			if err := e.Run(b.Context()); err != nil {
				b.Fatal(err)
			}
			s := e.Status()
			if int(s.Counters["events_read"]) != b.N {
				b.Fatalf("%d events read", s.Counters["events_read"])
			}
			b.ReportMetric(1000*float64(s.Counters["policy_evaluations"])/float64(b.N), "evaluations/1000")
		})
	}
}

type nowhere struct{}

func (nowhere) Emit(*event.Event) {}

// loopKernel gives the same act again and again, by many processes.
type loopKernel struct {
	*fakeKernel
	n, i int
	path string
}

func (k *loopKernel) Next(context.Context) (*event.Event, error) {
	if k.i++; k.i > k.n {
		return nil, io.EOF
	}
	ev := execOf(int32(k.i%20000+2), k.path)
	ev.Decision = event.Decision{Verdict: event.VerdictAllow, Generation: 1, Undecided: k.path != "/fine"}
	return ev, nil
}

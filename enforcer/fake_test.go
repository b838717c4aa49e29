package enforcer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// fakeKernel is a kernel whose tables are ir programs: Decide is the
// definition of what the real ones answer.
type fakeKernel struct {
	trace  func(string) // order of operations
	events chan *event.Event

	mu         sync.Mutex
	fail       map[string]error // operation -> error
	next       Generation
	staged     map[Generation]*ir.Program
	active     Generation
	modes      event.Modes
	remembered map[string]event.Verdict
	counters   map[string]uint64
	keyOf      func(*event.Event) string
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{
		trace: func(string) {}, events: make(chan *event.Event), fail: map[string]error{},
		staged: map[Generation]*ir.Program{}, remembered: map[string]event.Verdict{},
		counters: map[string]uint64{}, keyOf: pathKey,
	}
}

func pathKey(ev *event.Event) string { return ev.File.Path }

func (k *fakeKernel) Stage(_ context.Context, p *ir.Program) (Generation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trace("kernel: stage " + p.Revision)
	if err := k.fail["stage"]; err != nil {
		return 0, err
	}
	k.next++
	k.staged[k.next] = p
	return k.next, nil
}

func (k *fakeKernel) Activate(g Generation) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trace(fmt.Sprintf("kernel: activate %d", g))
	if err := k.fail["activate"]; err != nil {
		return err
	}
	k.active = g
	return nil
}

func (k *fakeKernel) Retire(g Generation) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trace(fmt.Sprintf("kernel: retire %d", g))
	if err := k.fail["retire"]; err != nil {
		return err
	}
	if g == k.active {
		return errors.New("generation is active")
	}
	delete(k.staged, g)
	return nil
}

func (k *fakeKernel) SetModes(m event.Modes) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trace("kernel: mode " + m.All.String())
	if err := k.fail["mode"]; err != nil {
		return err
	}
	k.modes = m
	return nil
}

func (k *fakeKernel) Remember(g Generation, ev *event.Event, v event.Verdict, _ bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.trace(fmt.Sprintf("kernel: remember %d %s %s", g, k.keyOf(ev), v))
	if err := k.fail["remember"]; err != nil {
		return err
	}
	k.remembered[fmt.Sprintf("%d %s", g, k.keyOf(ev))] = v
	return nil
}

func (k *fakeKernel) Next(ctx context.Context) (*event.Event, error) {
	select {
	case ev, ok := <-k.events:
		if !ok {
			return nil, io.EOF
		}
		return ev, nil
	default:
	}
	select {
	case ev, ok := <-k.events:
		if !ok {
			return nil, io.EOF
		}
		return ev, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (k *fakeKernel) Counters() (map[string]uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.fail["counters"]; err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for n, v := range k.counters {
		out[n] = v
	}
	return out, nil
}

func (k *fakeKernel) set(op string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fail[op] = err
}

// act decides an act as the hooks would and puts its event into the ring.
func (k *fakeKernel) act(ev *event.Event) { k.events <- k.decide(ev) }

func (k *fakeKernel) decide(ev *event.Event) *event.Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	p, d := k.staged[k.active], &ev.Decision
	r := p.Decide(ev.Hook, ir.KeyOf(ev))
	*d = event.Decision{Verdict: r.Verdict, Source: event.SourceTable, Mode: k.modes.All,
		Generation: uint32(k.active), Revision: p.Revision}
	if r.Rule >= 0 {
		ref := p.Rules[ev.Hook][r.Rule].Ref
		d.Rule = &ref
	}
	if len(r.Undecided) > 0 && d.Verdict != event.VerdictDeny {
		if v, ok := k.remembered[fmt.Sprintf("%d %s", k.active, k.keyOf(ev))]; !ok {
			d.Undecided = true
		} else if v > d.Verdict {
			d.Verdict, d.Source, d.Rule = v, event.SourceCache, nil
		}
	}
	if d.Verdict == event.VerdictDeny {
		id, audit := "", false
		if r.Rule >= 0 && d.Source == event.SourceTable {
			rule := &p.Rules[ev.Hook][r.Rule]
			id, audit = rule.Ref.ID, rule.Audit
		}
		if d.Mode, d.ModeBy = k.modes.Here(id, audit, ev.Process.Cgroup); d.Mode == event.ModeEnforce {
			d.Effect = event.EffectRefused
		}
	}
	return ev
}

// fakePolicy answers by functions of the event, in place of OPA.
type fakePolicy struct {
	revision string
	rules    []fakeRule
	uncached bool
	calls    atomic.Int64
	before   func(context.Context, *event.Event) error // runs at the start of each Decide
}

// fakeRule is one rule in both forms: what it says, and its clauses.
type fakeRule struct {
	rule  ir.Rule
	holds func(*event.Event) bool
}

func (p *fakePolicy) Revision() string { return p.revision }

func (p *fakePolicy) KeyOf(ev *event.Event) (string, bool) { return pathKey(ev), !p.uncached }

func (p *fakePolicy) Program() *ir.Program {
	out := &ir.Program{Revision: p.revision, Rules: map[event.Hook][]ir.Rule{}}
	for _, r := range p.rules {
		out.Rules[event.HookExec] = append(out.Rules[event.HookExec], r.rule)
	}
	return out
}

func (p *fakePolicy) Decide(ctx context.Context, ev *event.Event) (event.Decision, error) {
	p.calls.Add(1)
	if p.before != nil {
		if err := p.before(ctx, ev); err != nil {
			return event.Decision{}, err
		}
	}
	d := event.Decision{Verdict: event.VerdictAllow, Revision: p.revision}
	for _, r := range p.rules {
		switch {
		case ev.Hook != event.HookExec || !r.holds(ev):
		case d.Rule == nil:
			ref := r.rule.Ref
			d.Verdict, d.Rule = r.rule.Verdict, &ref
			d.Message = fmt.Sprintf("%s says no to %s (pid %d)", ref.ID, ev.File.Path, ev.Process.PID)
		default:
			d.Others = append(d.Others, r.rule.Ref)
		}
	}
	return d, nil
}

func ref(id string) event.RuleRef {
	return event.RuleRef{ID: id, Path: "bailiff.exec.deny", File: "r.rego", Line: len(id), Title: "Title of " + id}
}

// lowered is a rule for one path that the kernel decides alone.
func lowered(id string, v event.Verdict, path string) fakeRule {
	return fakeRule{
		ir.Rule{Ref: ref(id), Verdict: v, Clauses: []ir.Clause{{When: []ir.Cond{
			{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{path}}}}}},
		func(ev *event.Event) bool { return ev.File.Path == path },
	}
}

// deferred is a rule for which the kernel only knows the prefix.
func deferred(id string, v event.Verdict, prefix, path string) fakeRule {
	return fakeRule{
		ir.Rule{Ref: ref(id), Verdict: v, Clauses: []ir.Clause{{Maybe: true, Reads: []string{"file.path"}, When: []ir.Cond{
			{Field: event.FieldPath, Op: ir.OpPrefix, Strs: []string{prefix}}}}}},
		func(ev *event.Event) bool { return ev.File.Path == path },
	}
}

func execOf(pid int32, path string) *event.Event {
	return &event.Event{
		Hook:    event.HookExec,
		Process: event.Process{PID: pid, TID: pid, ExecID: event.ExecID(pid), UID: 1000},
		File:    &event.File{Path: path},
	}
}

// recorder is a sink that keeps everything.
type recorder struct {
	mu     sync.Mutex
	all    []*event.Event
	trace  func(string)
	arrive chan struct{} // one token for each event
}

func newRecorder() *recorder {
	return &recorder{trace: func(string) {}, arrive: make(chan struct{}, 1<<20)}
}

func (r *recorder) Emit(ev *event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if ev.Agent != nil {
		r.trace("sink: notice " + ev.Agent.Code + ": " + ev.Agent.Text)
	} else {
		d := ev.Decision
		r.trace(strings.TrimSpace(fmt.Sprintf("sink: pid %d %s by %s %s", ev.Process.PID, d.Verdict, d.Source, d.FailOpen)))
	}
	r.all = append(r.all, ev)
	r.arrive <- struct{}{}
}

// acts returns the events without the notices.
func (r *recorder) acts() []*event.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*event.Event
	for _, ev := range r.all {
		if ev.Agent == nil {
			out = append(out, ev)
		}
	}
	return out
}

func (r *recorder) notices(code string) []*event.Notice {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []*event.Notice
	for _, ev := range r.all {
		if ev.Agent != nil && ev.Agent.Code == code {
			out = append(out, ev.Agent)
		}
	}
	return out
}

// waitActs blocks until n events that are not notices have arrived.
func (r *recorder) waitActs(t *testing.T, n int) []*event.Event {
	t.Helper()
	for {
		if got := r.acts(); len(got) >= n {
			return got
		}
		<-r.arrive
	}
}

// rig is a running enforcer with everything around it.
type rig struct {
	*Enforcer
	t      *testing.T
	kernel *fakeKernel
	policy *fakePolicy
	sink   *recorder
	cancel context.CancelFunc
	ended  chan error
}

// start runs an enforcer; change may alter the options. The test must call
// stop.
func start(t *testing.T, p *fakePolicy, change func(*Options)) *rig {
	t.Helper()
	k, sink := newFakeKernel(), newRecorder()
	o := Options{Kernel: k, Policy: p, Sinks: []Sink{sink}, Log: hclog.NewNullLogger(),
		Modes: event.Modes{All: event.ModeEnforce}, PollEvery: time.Hour, Backend: "fake"}
	if change != nil {
		change(&o)
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &rig{e, t, k, p, sink, cancel, make(chan error, 1)}
	go func() { r.ended <- e.Run(ctx) }()
	select {
	case <-e.Ready():
	case err := <-r.ended:
		t.Fatal("run ended at once:", err)
	}
	return r
}

// stop ends Run by the end of the event source and checks the sequence
// numbers of all that left: one is missing for each dropped event.
func (r *rig) stop() {
	r.t.Helper()
	close(r.kernel.events)
	if err := <-r.ended; err != nil {
		r.t.Error("run:", err)
	}
	r.cancel()
	last, missing, dropped := uint64(0), uint64(0), uint64(0)
	for i, ev := range r.sink.all {
		if ev.Seq <= last {
			r.t.Fatalf("event %d has sequence number %d after %d", i+1, ev.Seq, last)
		}
		missing += ev.Seq - last - 1
		last = ev.Seq
	}
	for name, n := range r.kernel.counters {
		if strings.HasPrefix(name, "drop_") {
			dropped += n
		}
	}
	if missing != dropped {
		r.t.Fatalf("%d sequence numbers are missing, %d events were dropped", missing, dropped)
	}
}

func (r *rig) count(name string) uint64 { return r.Status().Counters[name] }

func (r *rig) raised(code string) bool {
	for _, c := range r.Conditions() {
		if c.Code == code {
			return true
		}
	}
	return false
}

// setMode changes the mode for all.
func (r *rig) setMode(ctx context.Context, m event.Mode, by string) error {
	_, err := r.ChangeModes(ctx, ModeChange{By: by, Change: func(ms *event.Modes) { ms.All = m }})
	return err
}

package enforcer

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

func simple(revision string) *fakePolicy {
	return &fakePolicy{revision: revision, rules: []fakeRule{lowered("rule-"+revision, event.VerdictDeny, "/bad")}}
}

// script collects the order of operations.
type script struct {
	mu    sync.Mutex
	lines []string
}

func (s *script) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, line)
}

// TestOrderOfOperations is the trace of one life: start, an act, a policy
// change, an act that only the policy can judge, a mode switch, stop.
func TestOrderOfOperations(t *testing.T) {
	var s script
	r := start(t, simple("r1"), func(o *Options) {
		o.Kernel.(*fakeKernel).trace = s.add
		o.Sinks[0].(*recorder).trace = s.add
		o.Modes.All = event.ModeAudit
	})
	r.kernel.act(execOf(2, "/bad"))
	r.sink.waitActs(t, 1)
	next := mixed()
	next.revision = "r2"
	if err := r.SetPolicy(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	r.kernel.act(execOf(3, "/maybe/bad"))
	r.sink.waitActs(t, 2)
	if err := r.setMode(t.Context(), event.ModeEnforce, "uid 0"); err != nil {
		t.Fatal(err)
	}
	r.kernel.act(execOf(4, "/maybe/bad"))
	r.stop()
	want := `kernel: mode audit
sink: notice started: agent started in mode audit
kernel: stage r1
kernel: activate 1
sink: notice policy-change: policy r1 is in force
sink: pid 2 deny by table
kernel: stage r2
kernel: activate 2
sink: notice policy-change: policy r2 is in force, instead of r1
kernel: retire 1
kernel: remember 2 /maybe/bad deny
sink: pid 3 deny by engine
kernel: mode enforce
sink: notice mode-change: mode is enforce, was audit
sink: pid 4 deny by cache
sink: notice stopped: agent stopped`
	if got := strings.Join(s.lines, "\n"); got != want {
		t.Errorf("order of operations:\n%s\nwant:\n%s", got, want)
	}
	n := r.sink.notices(NoticePolicyChange)[1].Fields
	for k, v := range map[string]string{"revision": "r2", "old_revision": "r1", "generation": "2", "lowered": "2", "prefiltered": "1", "deferred": "0"} {
		if n[k] != v {
			t.Errorf("policy-change %s = %q, want %q", k, n[k], v)
		}
	}
}

// Whatever fails, one whole policy is in force and the kernel holds no tables
// that nobody will free.
func TestPolicyTransaction(t *testing.T) {
	boom := errors.New("no memory")
	for _, tt := range []struct {
		op      string
		applied bool // the new policy is in force
		cond    string
	}{
		{"stage", false, CondPolicyStale},
		{"activate", false, CondPolicyStale},
		{"retire", true, CondTablesNotFreed},
	} {
		t.Run(tt.op, func(t *testing.T) {
			r := start(t, simple("old"), nil)
			r.kernel.set(tt.op, boom)
			err := r.SetPolicy(t.Context(), simple("new"))
			if (err == nil) != tt.applied || (err != nil && !errors.Is(err, boom)) {
				t.Errorf("error: %v", err)
			}
			want := map[bool]string{true: "new", false: "old"}[tt.applied]
			if s := r.Status(); s.Revision != want {
				t.Errorf("status says %s", s.Revision)
			}
			r.kernel.act(execOf(2, "/bad"))
			if d := r.sink.waitActs(t, 1)[0].Decision; d.Rule.ID != "rule-"+want || d.Revision != want || d.Divergence {
				t.Errorf("decision: %+v", d)
			}
			if c := r.Conditions(); len(c) != 1 || c[0].Code != tt.cond || !strings.Contains(c[0].Text, boom.Error()) || c[0].Remedy == "" {
				t.Errorf("conditions: %+v", c)
			}
			if n := len(r.sink.notices(NoticePolicyRefused)); n != map[bool]int{true: 0, false: 1}[tt.applied] {
				t.Errorf("%d policy-refused notices", n)
			}

			r.kernel.set(tt.op, nil)
			if err := r.SetPolicy(t.Context(), simple("newest")); err != nil {
				t.Error(err)
			}
			if c := r.Conditions(); len(c) != 0 {
				t.Errorf("conditions after a good change: %+v", c)
			}
			if len(r.kernel.staged) != 1 {
				t.Errorf("kernel holds %d generations", len(r.kernel.staged))
			}
			r.stop()
		})
	}
}

func TestFirstPolicyFails(t *testing.T) {
	k := newFakeKernel()
	k.fail["stage"] = errors.New("verifier says no")
	e, err := New(Options{Kernel: k, Policy: simple("r1")})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "verifier says no") {
		t.Errorf("run: %v", err)
	}
}

// Policies change as fast as they can while acts go on. Each decision names
// the rule of the revision that it names, and was re-checked by that one.
func TestReloadUnderLoad(t *testing.T) {
	const acts = 3000
	r := start(t, simple("0"), func(o *Options) { o.Workers, o.Queue, o.Deadline = 4, acts, time.Minute })
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range acts {
			r.kernel.act(execOf(int32(i+2), "/bad"))
		}
	}()
	reloads := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
			reloads++
			if err := r.SetPolicy(t.Context(), simple(fmt.Sprint(reloads))); err != nil {
				t.Fatal(err)
			}
			// A few acts at least for each: events outlive only so many changes.
			seen := len(r.sink.acts())
			r.sink.waitActs(t, min(seen+20, acts))
		}
	}
	r.stop()
	for i, ev := range r.sink.acts() {
		d := ev.Decision
		if ev.Process.PID != int32(i+2) || d.Rule == nil || d.Rule.ID != "rule-"+d.Revision || d.Divergence ||
			!strings.HasPrefix(d.Message, d.Rule.ID+" says no") {
			t.Fatalf("event %d after %d reloads: pid %d %+v", i, reloads, ev.Process.PID, d)
		}
	}
	if r.count("divergences") != 0 || r.count("decisions_not_rechecked") != 0 || reloads < 2 {
		t.Errorf("%d reloads, counters %v", reloads, r.Status().Counters)
	}
}

func TestModeSwitch(t *testing.T) {
	r := start(t, simple("r1"), func(o *Options) { o.Modes.All = event.ModeAudit })
	r.kernel.act(execOf(2, "/bad"))
	r.sink.waitActs(t, 1)
	r.kernel.set("mode", errors.New("map is gone"))
	if err := r.setMode(t.Context(), event.ModeEnforce, "test"); err == nil || r.Mode() != event.ModeAudit {
		t.Errorf("failed switch: %v, mode %s", err, r.Mode())
	}
	r.kernel.set("mode", nil)
	if err := r.setMode(t.Context(), event.ModeEnforce, "test"); err != nil || r.Status().Modes.All != event.ModeEnforce {
		t.Errorf("switch: %v, mode %s", err, r.Mode())
	}
	r.kernel.act(execOf(3, "/bad"))
	r.stop()
	got := r.sink.acts()
	if a, b := got[0].Decision, got[1].Decision; !a.WouldDeny() || b.WouldDeny() || a.Rule.ID != b.Rule.ID || a.Message == "" {
		t.Errorf("audit %+v, enforce %+v", a, b)
	}
	if n := r.sink.notices(NoticeModeChange); len(n) != 1 || n[0].Fields["by"] != "test" || n[0].Fields["old_mode"] != "audit" {
		t.Errorf("notices: %+v", n)
	}
}

// A generation that was replaced answers while an event that names it may still
// come, and is forgotten then: it may be large.
func TestGenerationsForgotten(t *testing.T) {
	now := time.Unix(1000, 0)
	e, err := New(Options{Kernel: newFakeKernel(), Policy: simple("r1"), Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []string{"r1", "r2"} {
		if err := e.SetPolicy(t.Context(), simple(r)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		after, lag time.Duration // since it was replaced; of the reader
		known      bool
	}{
		{keepFor - time.Second, 0, true},
		{keepFor + time.Second, 5 * time.Second, true},
		{keepFor + time.Second, 0, false},
	} {
		now = time.Unix(1000, 0).Add(tt.after)
		e.lag.Store(int64(tt.lag))
		e.forgetGenerations()
		if known := e.generation(1) != nil; known != tt.known || e.generation(2) == nil {
			t.Errorf("%+v: generation 1 known %t, 2 known %t", tt, known, e.generation(2) != nil)
		}
	}
}

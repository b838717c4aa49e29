package sinktest

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/spool"
)

// Patience is how long tests wait for what must come.
const Patience = 60 * time.Second

// Rig is a real spool with one way out that reads it.
type Rig struct {
	t    *testing.T
	dir  string
	runs int
	log  *spool.Log
	seq  uint64
	ids  []string // of all events so far

	// Tune changes the options of the runners that are started after it.
	Tune func(*sink.Options)

	runner *sink.Runner
	stop   context.CancelFunc
	done   chan struct{}
	mu     sync.Mutex
	bad    error // the last trouble
}

// NewRig makes a spool without a way out.
func NewRig(t *testing.T) *Rig {
	t.Helper()
	r := &Rig{t: t, dir: t.TempDir(), Tune: func(*sink.Options) {}}
	r.open()
	t.Cleanup(func() {
		r.StopRunner()
		if err := r.log.Close(Patience); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *Rig) open() {
	r.t.Helper()
	r.runs++
	l, err := spool.Open(spool.Options{Dir: r.dir, Run: r.Run(), Linger: time.Millisecond})
	if err != nil {
		r.t.Fatal(err)
	}
	r.log, r.seq = l, 0
}

// Run is the current run.
func (r *Rig) Run() event.Run {
	return event.Run{ID: fmt.Sprintf("run%d", r.runs), Boot: Run().Boot}
}

// Restart closes the spool, as an agent does that ends, and opens it anew. The
// way out must be started again.
func (r *Rig) Restart() {
	r.t.Helper()
	if err := r.log.Close(Patience); err != nil {
		r.t.Fatal(err)
	}
	r.StopRunner()
	r.open()
}

// Start lets a way out run.
func (r *Rig) Start(m sink.Mapper, s sink.Sender) {
	r.t.Helper()
	o := sink.Options{
		Name: "test", From: r.log, Mapper: m, Sender: s, Log: hclog.NewNullLogger(), ConfirmEvery: 50 * time.Millisecond,
		RetryMin: time.Millisecond, RetryMax: 50 * time.Millisecond,
		Decode: func(b []byte) (*event.Event, error) {
			e := &event.Event{}
			return e, json.Unmarshal(b, e)
		},
		Trouble: func(err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.bad = err
		},
	}
	r.Tune(&o)
	r.runner = sink.NewRunner(o)
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.done = stop, make(chan struct{})
	done := r.done
	go func() {
		defer close(done)
		r.runner.Run(ctx)
	}()
}

// StopRunner ends the way out at once, as a killed agent does.
func (r *Rig) StopRunner() {
	if r.runner != nil {
		r.stop()
		<-r.done
	}
	r.runner = nil
}

// Emit puts n events into the spool and returns their ids.
func (r *Rig) Emit(n int) []string {
	r.t.Helper()
	var ids []string
	for range n {
		r.seq++
		e := &event.Event{
			Seq: r.seq, Time: time.Now().UTC(), Boot: r.seq, Hook: event.HookExec, Process: process(),
			File: file(fmt.Sprintf("/usr/bin/n%d", r.seq)), Exec: &event.Exec{Args: []string{"n", fmt.Sprint(r.seq)}, Cwd: "/"},
		}
		if r.seq%10 == 0 {
			e.Decision = event.Decision{Verdict: event.VerdictDeny, Effect: event.EffectRefused, Rule: &event.RuleRef{ID: "tenth"}}
		}
		b, err := json.Marshal(e)
		if err != nil {
			r.t.Fatal(err)
		}
		r.log.Append(r.seq, b, false)
		it := sink.Item{Run: r.Run(), Seq: r.seq, Event: e}
		ids = append(ids, it.ID())
	}
	r.ids = append(r.ids, ids...)
	return ids
}

// All is the ids of all events so far.
func (r *Rig) All() []string { return r.ids }

// Stats returns what the way out counted.
func (r *Rig) Stats() sink.Stats { return r.runner.Stats() }

// Trouble returns the last trouble that the way out told; nil if it is over.
func (r *Rig) Trouble() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}

// Drained waits until the receiver has confirmed everything.
func (r *Rig) Drained() {
	r.t.Helper()
	Eventually(r.t, "everything is confirmed", func() bool { return r.Stats().Lag == 0 && !r.Stats().Failing })
}

// Eventually waits until f holds.
func Eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(Patience); !f(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("did not come true: %s", what)
		}
	}
}

// Compare holds what was received against what was sent: all of it, and how
// often some came again.
func Compare(t *testing.T, got, want []string) (again int) {
	t.Helper()
	seen := map[string]int{}
	for _, id := range got {
		seen[id]++
	}
	missing := 0
	for _, id := range want {
		if seen[id] == 0 {
			if missing++; missing < 5 {
				t.Errorf("%s is missing", id)
			}
		}
		again += max(0, seen[id]-1)
		delete(seen, id)
	}
	if missing > 0 {
		t.Errorf("%d of %d are missing", missing, len(want))
	}
	for id := range seen {
		t.Errorf("%s was never sent", id)
	}
	return again
}

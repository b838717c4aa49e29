package sink_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/ecs"
	"example.com/bailiff/internal/sink/sinktest"
)

// shaky is a receiver that fails as it likes. It loses what it has not
// confirmed.
type shaky struct {
	mu      sync.Mutex
	away    bool
	every   int // one call in so many fails; 0: none
	refuses func(id string) bool
	onWay   []string
	got     []string
	kinds   []string
}

var errAway = errors.New("the receiver is away")

func (s *shaky) fails() bool { return s.away || s.every > 0 && rand.IntN(s.every) == 0 }

func (s *shaky) Send(_ context.Context, records []sink.Record) (rejected int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range records {
		if s.fails() {
			s.onWay = nil
			return 0, errAway
		}
		if s.refuses != nil && s.refuses(records[i].ID) {
			rejected++
			continue
		}
		s.onWay = append(s.onWay, records[i].ID)
		s.kinds = append(s.kinds, records[i].Item.Kind())
	}
	return rejected, nil
}

func (s *shaky) Confirm(context.Context) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails() {
		s.onWay = nil
		return 0, errAway
	}
	s.got = append(s.got, s.onWay...)
	s.onWay = nil
	return 0, nil
}

func (s *shaky) Close() error { return nil }

func (s *shaky) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// TestNothingIsLost: a receiver that fails, goes away and comes back, and an
// agent that ends in between, cost time only.
func TestNothingIsLost(t *testing.T) {
	r := sinktest.NewRig(t)
	s := &shaky{every: 2000}
	m := ecs.New(sinktest.Host())
	r.Start(m, s)
	r.Emit(5000)
	r.Drained()

	s.set(func() { s.away = true })
	r.Emit(3000)
	sinktest.Eventually(t, "the trouble is told", func() bool { return errors.Is(r.Trouble(), errAway) })
	st := r.Stats()
	if !st.Failing || st.Lag != 3000 || st.Failures == 0 || st.LastError == "" || st.LagTime <= 0 {
		t.Errorf("while it is away: %+v", st)
	}
	r.Restart()
	r.Emit(1000)
	r.Start(m, s)
	sinktest.Eventually(t, "it is tried again", func() bool { return r.Stats().Failures > 2 })
	s.set(func() { s.away = false })
	r.Drained()
	sinktest.Eventually(t, "the trouble is over", func() bool { return r.Trouble() == nil })

	again := sinktest.Compare(t, s.got, r.All())
	if again > 0 {
		t.Errorf("%d came again though the receiver forgets what it has not confirmed", again)
	}
	if !slices.IsSortedFunc(s.got[len(s.got)-1000:], func(a, b string) int { return len(a) - len(b) }) {
		t.Error("not in order")
	}
	st = r.Stats()
	if st.Events != 4000 || st.Records != 4000 {
		t.Errorf("after the restart: %+v", st)
	}
}

// TestKilled: what was not acknowledged when the agent was killed comes again,
// nothing is missing.
func TestKilled(t *testing.T) {
	r := sinktest.NewRig(t)
	r.Tune = func(o *sink.Options) { o.ConfirmEvery = time.Hour; o.ConfirmRecords = 100 }
	s := &shaky{}
	m := ecs.New(sinktest.Host())
	r.Start(m, s)
	r.Emit(1050)
	sinktest.Eventually(t, "some are on their way", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.got) >= 100
	})
	r.StopRunner()
	r.Tune = func(*sink.Options) {}
	s.set(func() { s.onWay = nil })
	r.Start(m, s)
	r.Drained()
	sinktest.Compare(t, s.got, r.All())
}

// TestRejected: what the receiver will never take does not stand in the way,
// and is counted.
func TestRejected(t *testing.T) {
	r := sinktest.NewRig(t)
	s := &shaky{}
	bad := ""
	s.refuses = func(id string) bool { return id == bad }
	bad = fmt.Sprintf("%s/%s/%d", r.Run().Boot, r.Run().ID, 7)
	r.Start(ecs.New(sinktest.Host()), s)
	ids := r.Emit(20)
	r.Drained()
	sinktest.Compare(t, s.got, slices.DeleteFunc(ids, func(id string) bool { return id == bad }))
	if st := r.Stats(); st.Rejected != 1 || st.Records != 19 || st.Events != 20 {
		t.Errorf("counted %+v", st)
	}
}

// TestFindingsOnly: the rest is passed over, and the place moves all the same.
func TestFindingsOnly(t *testing.T) {
	r := sinktest.NewRig(t)
	r.Tune = func(o *sink.Options) { o.FindingsOnly = true }
	s := &shaky{}
	r.Start(ecs.New(sinktest.Host()), s)
	ids := r.Emit(25)
	r.Drained()
	sinktest.Compare(t, s.got, []string{ids[9], ids[19]})
}

// TestMemory: without a spool the oldest events go when there are too many,
// and a gap says how many.
func TestMemory(t *testing.T) {
	m := sink.NewMemory(sinktest.Run(), 10, 0)
	put := func(from, to uint64) {
		for seq := from; seq <= to; seq++ {
			b, err := json.Marshal(&event.Event{Seq: seq, Hook: event.HookExit})
			if err != nil {
				t.Fatal(err)
			}
			m.Append(seq, b)
		}
	}
	s := &shaky{away: true}
	r := sink.NewRunner(sink.Options{
		Name: "m", From: m, Mapper: ecs.New(sinktest.Host()), Sender: s, ConfirmEvery: time.Millisecond, RetryMin: time.Millisecond, RetryMax: time.Millisecond,
		Decode: func(b []byte) (*event.Event, error) {
			e := &event.Event{}
			return e, json.Unmarshal(b, e)
		},
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Run(t.Context())
	}()
	put(1, 25)
	sinktest.Eventually(t, "the receiver is missed", func() bool { return r.Stats().Failures > 0 })
	s.set(func() { s.away, s.kinds = false, nil })
	sinktest.Eventually(t, "all is confirmed", func() bool { return r.Stats().Lag == 0 })
	put(26, 30)
	m.Close()
	<-done
	if len(s.got) != 16 || s.kinds[0] != sink.KindGap || s.got[0] != "2899dae4-4fa4-4eef-95b6-6bc95325f61a/PNZF7PFG2GK2/gap-evicted-1-15" {
		t.Errorf("got %q", s.got)
	}
	if st := r.Stats(); st.Lost < 15 || st.Events != 16 {
		t.Errorf("counted %+v", st)
	}
}

// TestDamaged: what cannot be read is a gap.
func TestDamaged(t *testing.T) {
	m := sink.NewMemory(sinktest.Run(), 0, 0)
	m.Append(1, []byte("no event"))
	m.Close()
	s := &shaky{}
	r := sink.NewRunner(sink.Options{Name: "m", From: m, Mapper: ecs.New(sinktest.Host()), Sender: s,
		Decode: func([]byte) (*event.Event, error) { return nil, errors.New("damaged") }})
	r.Run(t.Context())
	if !slices.Equal(s.kinds, []string{sink.KindGap}) {
		t.Errorf("got %q", s.kinds)
	}
}

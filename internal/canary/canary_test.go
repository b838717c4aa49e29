package canary

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"example.com/bailiff/internal/event"
)

const self = 42

var errFull = errors.New("no room")

// world is an agent of which stages can be broken.
type world struct {
	events                       chan *event.Event
	deaf, blind, mute, full, ill bool
	refused                      bool
	delay                        time.Duration
}

func (w *world) canary() *Canary {
	w.events = make(chan *event.Event, 8)
	c := New(Options{Every: 15 * time.Second, Within: 5 * time.Second, PID: self})
	c.Act = func(ctx context.Context, word string) error {
		if w.ill {
			return errFull
		}
		if w.blind {
			return nil
		}
		time.Sleep(w.delay)
		e := &event.Event{Hook: event.HookExec, Time: time.Now(), Process: event.Process{PPID: self}, Exec: &event.Exec{Args: []string{"bailiff", "canary", word}}}
		if w.refused {
			e.Exec = nil
		}
		for _, other := range []*event.Event{
			{Hook: event.HookFork, Time: time.Now(), Process: event.Process{PPID: self}},
			{Hook: event.HookExec, Time: time.Now(), Process: event.Process{PPID: 7}, Exec: e.Exec},
			{Hook: event.HookExec, Time: time.Now(), Process: event.Process{PPID: self}, Exec: &event.Exec{Args: []string{"bailiff", "canary", "another"}}},
			e,
		} {
			c.Emit(other)
			w.events <- other
		}
		return nil
	}
	c.Follow = func(ctx context.Context, ready func(), match func(*event.Event) bool) error {
		if w.full {
			return errFull
		}
		if !w.deaf {
			ready()
		}
		for {
			select {
			case e := <-w.events:
				if !w.mute && match(e) {
					return nil
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return c
}

func TestStages(t *testing.T) {
	for name, tt := range map[string]struct {
		world
		stage Stage
		err   error
	}{
		"well":             {world{}, StageDone, nil},
		"slow":             {world{delay: 2 * time.Second}, StageDone, nil},
		"refused":          {world{refused: true}, StageDone, nil},
		"kernel silent":    {world{blind: true}, StageKernel, nil},
		"stream silent":    {world{mute: true}, StageStream, nil},
		"server silent":    {world{deaf: true}, StageSubscribe, nil},
		"no room":          {world{full: true}, StageSubscribe, errFull},
		"no act":           {world{ill: true}, StageAct, errFull},
		"all silent":       {world{blind: true, deaf: true}, StageKernel, nil},
		"beyond the bound": {world{delay: 6 * time.Second}, StageKernel, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := tt.world
				start := time.Now()
				got := w.canary().Round(t.Context())
				if got.Stage != tt.stage || !errors.Is(got.Err, tt.err) {
					t.Errorf("got %+v, want %v, %v", got, tt.stage, tt.err)
				}
				if (got.Seen > 0) != (tt.stage == StageDone || tt.stage == StageStream || tt.stage == StageSubscribe) || (got.Streamed > 0) != got.OK() {
					t.Errorf("latencies of %+v", got)
				}
				if took := time.Since(start); took > 11*time.Second {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

func TestRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := world{}
		c := w.canary()
		var got []Result
		c.Report = func(r Result) { got = append(got, r); w.blind = !w.blind }
		ctx, cancel := context.WithTimeout(t.Context(), 52*time.Second)
		defer cancel()
		c.Run(ctx)
		if len(got) != 4 || !got[0].OK() || got[1].OK() || !got[2].OK() || c.Last() != got[3] {
			t.Errorf("got %+v", got)
		}
	})
}

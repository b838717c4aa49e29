package enforcer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"example.com/bailiff/internal/event"
)

// TestChaos lets everything go wrong at random: slow and failing evaluations,
// kernels that do not remember, small queues, policy changes. Whatever happens:
// events leave in order, one for one; a refused act stays refused; and an act
// that the policy forbids is never recorded as allowed without saying why.
func TestChaos(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { chaos(t, rand.New(rand.NewPCG(seed, 2))) })
		})
	}
}

func chaos(t *testing.T, rnd *rand.Rand) {
	const acts = 400
	n := func(limit int) int { return rnd.IntN(limit) }
	rolls := make(chan int, acts*8) // drawn before: workers must not share the generator
	for range cap(rolls) {
		rolls <- n(100)
	}
	policy := func(revision int) *fakePolicy {
		p := mixed()
		p.revision, p.uncached = fmt.Sprint("r", revision), n(4) == 0
		p.before = func(ctx context.Context, _ *event.Event) error {
			switch roll := <-rolls; {
			case roll < 10:
				return errors.New("eval error")
			case roll < 15:
				panic("bug")
			case roll < 40:
				time.Sleep(time.Duration(roll) * 5 * time.Millisecond) // ignores ctx
			case roll < 50:
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		return p
	}
	r := start(t, policy(0), func(o *Options) {
		o.Workers, o.Queue, o.Pipeline = 1+n(3), 1+n(20), 4+n(200)
		o.Deadline, o.CacheSize = time.Duration(20+n(200))*time.Millisecond, 1+n(4)
		o.SampleEvery = uint64(n(5))
	})
	paths := []string{"/bad", "/watched", "/fine", "/maybe/bad", "/maybe/good", "/maybe/1", "/maybe/2", "/maybe/3"}
	for i := range acts {
		r.kernel.act(execOf(int32(i+2), paths[n(len(paths))]))
		switch n(40) {
		case 0:
			r.kernel.set("remember", errors.New("full"))
		case 1:
			r.kernel.set("remember", nil)
		case 2:
			if err := r.SetPolicy(t.Context(), policy(i)); err != nil {
				t.Fatal(err)
			}
		case 3:
			time.Sleep(time.Duration(n(100)) * time.Millisecond)
		}
	}
	r.stop()
	time.Sleep(time.Minute) // evaluations that ignored everything end

	got := r.sink.acts()
	if len(got) != acts {
		t.Fatalf("%d events for %d acts", len(got), acts)
	}
	for i, ev := range got {
		d := ev.Decision
		if ev.Process.PID != int32(i+2) {
			t.Fatalf("place %d has pid %d", i, ev.Process.PID)
		}
		forbidden := ev.File.Path == "/bad" || ev.File.Path == "/maybe/bad"
		switch {
		case d.Divergence:
			t.Errorf("divergence: %+v", d)
		case forbidden && d.Verdict != event.VerdictDeny && d.FailOpen == "":
			t.Errorf("%s passed in silence: %+v", ev.File.Path, d)
		case !forbidden && d.Verdict == event.VerdictDeny:
			t.Errorf("%s was denied: %+v", ev.File.Path, d)
		case ev.File.Path == "/bad" && d.Effect != event.EffectRefused:
			t.Errorf("refused act became %+v", d)
		case d.FailOpen != "" && (!d.Undecided || d.Late):
			t.Errorf("fail open: %+v", d)
		}
	}
	r.kernel.mu.Lock()
	defer r.kernel.mu.Unlock()
	for key, v := range r.kernel.remembered {
		if want := key[len(key)-4:] == "/bad"; want != (v == event.VerdictDeny) {
			t.Errorf("kernel remembers %s for %s", v, key)
		}
	}
	open := uint64(0)
	own := map[string]uint64{}
	r.counts.snapshot(own)
	for name, c := range own {
		if strings.HasPrefix(name, "fail_open_") {
			open += c
		}
	}
	told := uint64(0)
	for _, ev := range got {
		if ev.Decision.FailOpen != "" {
			told++
		}
	}
	if open != told {
		t.Errorf("%d fail-open acts counted, %d told", open, told)
	}
}

package e2e

import (
	"os"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

// TestNativeStorm makes exec and fork events as fast as the machine can and
// demands that each one was either delivered or counted as lost: the sum is
// exact, whoever lost it.
func TestNativeStorm(t *testing.T) {
	if inGuest() {
		t.Skip("natively only: a guest makes no storm")
	}
	backends(t)
	var spawns uint32 = 5000 // by each of two spawners, two events each
	if os.Getenv(envBench) != "" {
		spawns = 50000
	}
	w, spawner := newSpawner(t, spawns)
	w.start(event.ModeEnforce)
	_ = w.stream.Close()
	ctx := w.wait()
	stream, err := w.agent.Tally(ctx, "--hook", "exec,fork", "--no-notices")
	w.must(err)
	defer stream.Close()
	before := w.lost()

	start := time.Now()
	done := make(chan error)
	for range 2 {
		go func() {
			_, err := w.actor().Exec(spawner)
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(start)

	// Each spawner is itself one exec. That it was forked is seen where its
	// parent is: outside of the scope.
	made := uint64(2 * (2*spawns + 1))
	seen := func() uint64 { return stream.Count(event.HookExec) + stream.Count(event.HookFork) }
	var lost uint64
	eventually(t, "every event is accounted for", func() bool {
		lost = w.lost() - before + stream.Gaps()
		return seen()+lost >= made
	})
	w.stopOnly()
	t.Logf("%d exec and fork events made in %v (%.0f a second): %d delivered, %d counted as lost; the agent took %v of processor time",
		made, took.Round(time.Millisecond), float64(made)/took.Seconds(), seen(), lost, w.agent.CPU())
	if got := seen() + lost; got != made {
		t.Errorf("%d events accounted for, want %d: %d exec, %d fork, %d lost", got, made,
			stream.Count(event.HookExec), stream.Count(event.HookFork), lost)
	}
}

// lost is what the agent has counted as lost between kernel and stream. What a
// subscription lost is told in its stream.
func (w *world) lost() (n uint64) {
	w.t.Helper()
	st, err := w.agent.Status(w.wait())
	w.must(err)
	for name, v := range st.Counters {
		if name == "kernel_drop_exec" || name == "kernel_drop_fork" {
			n += v
		}
	}
	return n
}

package e2e

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// TestNativeStorm makes exec and fork events as fast as the machine can and
// demands that each one was either acknowledged by a consumer or declared lost
// to it: the sum is exact, whoever lost it. BAILIFF_E2E_STORM is the number of
// exec and fork events.
func TestNativeStorm(t *testing.T) {
	if inGuest() {
		t.Skip("natively only: a guest makes no storm")
	}
	backends(t)
	events := uint64(20000)
	if os.Getenv(envBench) != "" {
		events = 200000
	}
	if s := os.Getenv("BAILIFF_E2E_STORM"); s != "" {
		var err error
		if events, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	spawns := (events + 3) / 4 // by each of two spawners, two events each
	w, spawner := newSpawner(t, uint32(spawns))
	w.startOnly(event.ModeEnforce)
	siem := w.consume("siem")
	status, err := w.agent.Status(w.wait())
	w.must(err)
	before := status.Counters["kernel_acts"]

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

	// Each spawner is itself one exec and one exit. That it was forked is seen
	// where its parent is: outside of the scope.
	made := 2 * (3*spawns + 2)
	var got harness.RunTally
	patient, cancel := context.WithTimeout(t.Context(), patience+took)
	defer cancel()
	if err := siem.Until(patient, func(runs []harness.RunTally) bool {
		if len(runs) > 0 {
			got = runs[0]
		}
		return got.AllActs()+got.AllLost() >= made && got.Acked == got.Last
	}); err != nil {
		t.Errorf("after %v: %+v", took, got)
	}
	drained := time.Since(start)
	status, err = w.agent.Status(w.wait())
	w.must(err)
	w.stopOnly()
	t.Logf("%d exec and fork events, %d with the exits, made in %v (%.0f a second), the last one acknowledged after %v: %d delivered and acknowledged, %d lost (%v); the agent took %v of processor time",
		2*(2*spawns+1), made, took.Round(time.Millisecond), float64(made)/took.Seconds(), drained.Round(time.Millisecond),
		got.AllActs(), got.AllLost(), got.Lost, w.agent.CPU())
	if got.AllActs()+got.AllLost() != made || got.Holes != 0 || got.AtLeast {
		t.Errorf("%d events were made, accounted for are %+v", made, got)
	}
	if told := status.Counters["kernel_acts"] - before; told != made {
		t.Errorf("the kernel counted %d acts, %d were made", told, made)
	}
}

// consume starts a consumer that follows the agent until the test ends.
func (w *world) consume(name string) *harness.Consumer {
	w.t.Helper()
	c := &harness.Consumer{Name: name}
	w.attend(c)
	return c
}

// attend lets a consumer follow the agent; the returned function ends that.
func (w *world) attend(c *harness.Consumer) (leave func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	socket := w.agent.Socket
	go func() {
		defer close(ended)
		_ = c.Follow(ctx, socket) // an agent that was killed ends it too: what matters is what was received
	}()
	leave = func() {
		cancel()
		<-ended
	}
	w.t.Cleanup(leave)
	return leave
}

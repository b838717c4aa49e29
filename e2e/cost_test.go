package e2e

import (
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// TestNativeCost measures fork and exec of a static program with and without
// the agent, turn by turn, and the agent's processor time for each.
func TestNativeCost(t *testing.T) {
	if os.Getenv(envBench) == "" || inGuest() {
		t.Skip("a measurement: make bench")
	}
	backends(t)
	const turns, rounds, spawns = 9, 40, 100
	w, spawner := newSpawner(t, spawns)
	// round is one run of the spawner, per spawn.
	round := func() time.Duration {
		start := time.Now()
		onOneCPU(t, func() {
			if o, err := w.actor().Exec(spawner); err != nil || o.Exit != 0 {
				t.Fatalf("spawner: %v, %v", o, err)
			}
		})
		return time.Since(start) / spawns
	}
	var bare, with []time.Duration
	var cpu time.Duration
	round() // warms caches
	for range turns {
		for range rounds {
			bare = append(bare, round())
		}
		w.start(event.ModeEnforce)
		_ = w.stream.Close()
		before, _, err := harness.ProcessCPU(w.agent.PID())
		w.must(err)
		for range rounds {
			with = append(with, round())
		}
		// The agent ends after it has read what there was.
		w.must(w.agent.Stop(w.wait()))
		cpu += w.agent.CPU() - before
	}
	slices.Sort(bare)
	slices.Sort(with)
	for _, at := range []int{0, turns * rounds / 10, turns * rounds / 2} {
		t.Logf("fork+exec+exit, round %d of %d by time: bare %v, with the agent %v, ratio %.3f", at+1, turns*rounds, bare[at], with[at], float64(with[at])/float64(bare[at]))
	}
	t.Logf("the agent took %v of processor time for each fork+exec+exit", cpu/(turns*rounds*spawns))
}

// onOneCPU runs f, and what it starts, on one processor: what is measured is what
// an act costs, not where the scheduler puts parent and child.
func onOneCPU(t *testing.T, f func()) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	one.Set(0)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	f()
}

// newSpawner makes a world with a policy of one rule, and a program that forks
// n times and executes a static program each time.
func newSpawner(t *testing.T, n uint32) (*world, string) {
	w := newWorld(t, tracepoint)
	w.policy(map[string]any{"programs": []string{"/e2e/none"}, "directories": []string{}, "parents": []string{}}, map[string]string{"exec": execPolicy})
	spawner, exit := w.path("spawner"), w.path("exit")
	w.must(harness.WriteProgram(exit, harness.ExitProgram()))
	w.must(harness.WriteProgram(spawner, harness.SpawnProgram(exit, n)))
	return w, spawner
}

package e2e

import (
	"os"
	"slices"
	"testing"
	"time"

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
	const turns, spawns = 9, 4000
	w, spawner := newSpawner(t, spawns)
	run := func() time.Duration {
		start := time.Now()
		if o, err := w.actor().Exec(spawner); err != nil || o.Exit != 0 {
			t.Fatalf("spawner: %v, %v", o, err)
		}
		return time.Since(start)
	}
	var ratios []float64
	var cpu time.Duration
	run() // warms caches
	for range turns {
		bare := run()
		w.start(event.ModeEnforce)
		_ = w.stream.Close()
		before, _, err := harness.ProcessCPU(w.agent.PID())
		w.must(err)
		with := run()
		// The agent ends after it has read what there was.
		w.must(w.agent.Stop(w.wait()))
		cpu += w.agent.CPU() - before
		ratio := float64(with) / float64(bare)
		ratios = append(ratios, ratio)
		t.Logf("fork+exec+exit: bare %v, with the agent %v, ratio %.3f", bare/spawns, with/spawns, ratio)
	}
	slices.Sort(ratios)
	t.Logf("median ratio %.3f (least %.3f); the agent took %v of processor time for each fork+exec+exit",
		ratios[turns/2], ratios[0], cpu/(turns*spawns))
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

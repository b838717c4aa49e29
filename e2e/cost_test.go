package e2e

import (
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/guest"
	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// TestNativeCost measures fork and exec of a static program with and without
// the agent, turn by turn, and the agent's processor time for each. The machine's own
// speed changes from one second to the next: each turn with the agent is compared with
// the rounds just before and just after it.
func TestNativeCost(t *testing.T) {
	if os.Getenv(envBench) == "" || inGuest() {
		t.Skip("a measurement: make bench")
	}
	backends(t)
	const spawns = 200
	t.Run("busybox true", func(t *testing.T) {
		w := newSpawnerWorld(t)
		spawnCost(t, w, w.spawner(w.staticTrue(), spawns), spawns)
	})
	t.Run("the smallest program", func(t *testing.T) {
		w, spawner := newSpawner(t, spawns)
		spawnCost(t, w, spawner, spawns)
	})
}

func spawnCost(t *testing.T, w *world, spawner string, spawns time.Duration) {
	const turns, rounds = 15, 20
	// several are rounds of the spawner, each per spawn, sorted.
	several := func() []time.Duration {
		var out []time.Duration
		for range rounds {
			start := time.Now()
			onOneCPU(t, func() {
				if o, err := w.actor().Exec(spawner); err != nil || o.Exit != 0 {
					t.Fatalf("spawner: %v, %v", o, err)
				}
			})
			out = append(out, time.Since(start)/spawns)
		}
		slices.Sort(out)
		return out
	}
	var ratios, quickest []float64
	var cpu time.Duration
	several() // warms caches
	before := several()
	for range turns {
		w.start(event.ModeEnforce)
		_ = w.stream.Close()
		start, _, err := harness.ProcessCPU(w.agent.PID())
		w.must(err)
		with := several()
		// The agent ends after it has read what there was.
		w.must(w.agent.Stop(w.wait()))
		cpu += w.agent.CPU() - start
		after := several()
		ratios = append(ratios, 2*float64(with[rounds/2])/float64(before[rounds/2]+after[rounds/2]))
		quickest = append(quickest, 2*float64(with[0])/float64(before[0]+after[0]))
		t.Logf("fork+exec+exit, median of %d rounds: before %v, with the agent %v, after %v", rounds, before[rounds/2], with[rounds/2], after[rounds/2])
		before = after
	}
	slices.Sort(ratios)
	slices.Sort(quickest)
	t.Logf("ratio of medians in %d turns: median %.3f, quartiles %.3f and %.3f; of the quickest rounds %.3f, %.3f and %.3f", turns,
		ratios[turns/2], ratios[turns/4], ratios[3*turns/4], quickest[turns/2], quickest[turns/4], quickest[3*turns/4])
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
// n times and executes the smallest static program each time.
func newSpawner(t *testing.T, n uint32) (*world, string) {
	w := newSpawnerWorld(t)
	exit := w.path("exit")
	w.must(harness.WriteProgram(exit, harness.ExitProgram()))
	return w, w.spawner(exit, n)
}

func newSpawnerWorld(t *testing.T) *world {
	w := newWorld(t, tracepoint)
	w.policy(map[string]any{"programs": []string{"/e2e/none"}, "directories": []string{}, "parents": []string{}}, map[string]string{"exec": execPolicy})
	return w
}

// spawner makes a program that forks n times and executes another each time.
func (w *world) spawner(exec string, n uint32) string {
	spawner := w.path("spawner")
	w.must(harness.WriteProgram(spawner, harness.SpawnProgram(exec, n)))
	return spawner
}

// staticTrue makes an ordinary static program that ends at once.
func (w *world) staticTrue() string {
	busybox, err := guest.Busybox()
	w.must(err)
	w.must(copyFile(busybox, w.path("true")))
	return w.path("true")
}

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// TestWaiveCost counts, in a guest whose clock counts instructions, what an exec costs
// whose answer the kernel knows, with the question and without, and what an open costs
// while questions may be waived. docs/performance.md has the figures.
func TestWaiveCost(t *testing.T) {
	if os.Getenv(envBench) == "" || !inGuest() {
		t.Skip("a measurement for a guest that counts instructions: make bench")
	}
	w, held := keyedGate(t, lsm)
	const spawns = 100
	exit := map[string]string{"not held": w.path("exit"), "held": filepath.Join(held, "exit"), "held, many keys": filepath.Join(held, "admin")}
	for _, p := range exit {
		w.must(harness.WriteProgram(p, harness.ExitProgram()))
	}
	for name, p := range exit { // not there: who spawns is not held
		w.must(harness.WriteProgram(w.path("one "+name), harness.SpawnProgram(p, 1)))
		w.must(harness.WriteProgram(w.path("many "+name), harness.SpawnProgram(p, spawns)))
	}
	file := w.path("file")
	w.write(file, nil, 0o644)
	measured := func(step ...string) int64 {
		o, err := w.actor().Do(step)
		w.must(err)
		n, err := harness.ReadMeasured(o)
		w.must(err)
		return n
	}
	spawn := func(name string) int64 {
		return measured("measure-spawn", w.path("many "+name), w.path("one "+name), fmt.Sprint(spawns), "5")
	}
	open := measured("measure", file)
	bare := map[string]int64{}
	for name := range exit {
		bare[name] = spawn(name)
	}
	w.start(event.ModeEnforce, "--gate-mount", held)
	_ = w.stream.Close() // its reader would share the processor
	n := measured("measure", file)
	t.Logf("open+close: %d without an agent, %+d while questions may be waived", open, n-open)
	// Executed under several keys, this file is asked about each time.
	w.must(unix.Chmod(held, 0o777))
	for _, user := range []string{"4243", "4244", "4245"} {
		for known := w.counter("kernel_held_waived"); w.counter("kernel_held_waived") == known; {
			_, err := w.actor().Do([]string{"exec", exit["held, many keys"]})
			w.must(err)
		}
		_, err := w.actor().Do([]string{"setuid", user}, []string{"exec", exit["held, many keys"]})
		w.must(err)
	}
	for _, name := range []string{"not held", "held", "held, many keys"} {
		before := w.counter("gate_questions")
		n := spawn(name)
		t.Logf("fork+exec+exit, %-16s %9d without an agent, %+9d with one; %d questions", name, bare[name], n-bare[name], w.counter("gate_questions")-before)
	}
	w.stop()
}

// counter returns one of the agent's counters.
func (w *world) counter(name string) uint64 {
	w.t.Helper()
	s, err := w.agent.Status(w.wait())
	w.must(err)
	return s.Counters[name]
}

// TestGuestWaiveCost runs it.
func TestGuestWaiveCost(t *testing.T) { measureInGuests(t, "^TestWaiveCost$") }

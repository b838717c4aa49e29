package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// TestNativeLatency measures how long events take from the kernel to a gRPC
// consumer at 10,000 a second, live and from the spool.
func TestNativeLatency(t *testing.T) {
	if os.Getenv(envBench) == "" || inGuest() {
		t.Skip("a measurement: make bench")
	}
	backends(t)
	const rate, seconds, each = 10000, 10, 33 // children that a spawner makes, three events each
	w, spawner := newSpawner(t, each)
	w.startOnly(event.ModeEnforce)
	consumers := map[string]*harness.Consumer{"live": {}, "from the spool": {Name: "siem"}}
	for _, c := range consumers {
		c.Time()
		w.attend(c)
		w.must(c.Subscribed(w.wait()))
	}
	perTurn := time.Second * (3*each + 2) / rate
	turns := int(seconds * time.Second / perTurn)
	start := time.Now()
	for i := range turns {
		if _, err := w.actor().Exec(spawner); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(start.Add(time.Duration(i+1) * perTurn)))
	}
	took := time.Since(start)
	made := uint64(turns * (3*each + 2))
	for name, c := range consumers {
		w.must(c.Until(w.wait(), func(runs []harness.RunTally) bool {
			return len(runs) > 0 && runs[0].AllActs()+runs[0].AllLost() >= made
		}))
		late := c.Latencies()
		at := func(p float64) time.Duration { return late[int(p*float64(len(late)-1))].Round(10 * time.Microsecond) }
		t.Logf("%s: %d events at %.0f a second: p50 %v, p90 %v, p99 %v, most %v", name, len(late), float64(made)/took.Seconds(), at(.5), at(.9), at(.99), at(1))
	}
	w.stopOnly()
}

// TestNativeMemory measures the agent's resident memory with the embedded
// baseline: at rest, and while events are made as fast as the machine can.
func TestNativeMemory(t *testing.T) {
	if os.Getenv(envBench) == "" || inGuest() {
		t.Skip("a measurement: make bench")
	}
	backends(t)
	w, spawner := newSpawner(t, 50000)
	w.bundle = "" // the embedded one
	w.startOnly(event.ModeAudit)
	w.attend(&harness.Consumer{Name: "siem"})
	_, err := w.agent.Status(w.wait())
	w.must(err)
	t.Logf("at rest: %s", memory(t, w.agent.PID()))
	if _, err := w.actor().Exec(spawner); err != nil {
		t.Fatal(err)
	}
	t.Logf("after 150,000 events: %s", memory(t, w.agent.PID()))
	w.stopOnly()
}

// memory says how much memory of a process is resident, and how much was.
func memory(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(line, ":")
		kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		if err == nil && (name == "VmRSS" || name == "VmHWM" || name == "RssAnon" || name == "RssFile" || name == "RssShmem") {
			out = append(out, fmt.Sprintf("%s %.1f MiB", name, float64(kib)/1024))
		}
	}
	return strings.Join(out, ", ")
}

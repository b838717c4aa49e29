package e2e

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/hostile"
)

// bigBundle has 1,000 rules that read data, and a set of 100,000 paths.
func bigBundle(rules, paths int) hostile.Files {
	f := hostile.Files{}
	exceptions, bad := map[string][]string{}, map[string]bool{}
	for i := range 50 {
		exceptions[fmt.Sprintf("app%d", i)] = []string{fmt.Sprintf("/usr/bin/tool%d", i), fmt.Sprintf("/usr/sbin/tool%d", i)}
	}
	for i := range paths {
		bad[fmt.Sprintf("/opt/tree/%04d/program-%d", i/100, i%100)] = true
	}
	for from := 0; from < rules; from += 50 {
		hook := []string{"exec", "open"}[from/50%2]
		var b strings.Builder
		fmt.Fprintf(&b, "package bailiff.%s\n", hook)
		for n := from; n < min(from+50, rules); n++ {
			fmt.Fprintf(&b, `
# METADATA
# title: Rule %[1]d
# custom: {id: rule-%[1]d, severity: high, attack: [T1105]}
deny contains {"message": sprintf("%%s: %%s", [input.process.exe.path, input.file.path])} if {
	some dir in {"/srv/app%[1]d/tmp/", "/var/lib/app%[1]d/run/"}
	startswith(input.file.path, dir)
	input.process.uid >= %[2]d
	not input.process.exe.path in data.exceptions.app%[3]d
}
`, n, 1000+n, n%50)
		}
		f[fmt.Sprintf("%s/rules%d.rego", hook, from)] = b.String()
	}
	f["exec/listed.rego"] = "package bailiff.exec\n\n# METADATA\n# custom: {id: listed}\ndeny contains \"listed\" if data.bad[input.file.path]\n"
	data, _ := json.Marshal(map[string]any{"exceptions": exceptions, "bad": bad})
	f["data.json"] = string(data)
	return f
}

// TestNativeBigBundle measures what it takes to put a bundle of 1,000 rules and
// a set of 100,000 entries in force while another one is: time, processor time
// and the peak of memory, of the agent and of the process that tries the bundle.
func TestNativeBigBundle(t *testing.T) {
	if os.Getenv(envBench) == "" || inGuest() {
		t.Skip("a measurement: make bench")
	}
	backends(t)
	w := newWorld(t, tracepoint)
	w.bundle = w.path("b.tar.gz")
	small, raw := bigBundle(1, 1).Pack(), bigBundle(1000, 100_000).Pack()
	// The machine does other things too: the least of some turns counts.
	least := time.Hour
	const turns = 4
	for turn := range turns {
		w.write(w.bundle, small, 0o644)
		w.start(event.ModeEnforce)
		before, childBefore, err := harness.ProcessCPU(w.agent.PID())
		w.must(err)
		peak := memoryPeak(t, w.agent.PID())
		took := putBundle(w, raw)
		after, childAfter, err := harness.ProcessCPU(w.agent.PID())
		w.must(err)
		load, err := os.ReadFile("/proc/loadavg")
		w.must(err)
		least = min(least, took)
		t.Logf("turn %d, load %s: 1,001 rules and 100,000 entries (%d KiB packed) in force %v after the file changed; the agent took %v of processor time, its child %v; the agent's peak was %d MiB, %d MiB before",
			turn+1, strings.Fields(string(load))[0], len(raw)>>10, took.Round(10*time.Millisecond), after-before, childAfter-childBefore,
			memoryPeak(t, w.agent.PID())>>20, peak>>20)
		if turn == turns-1 { // as large a one in place of a large one
			raw := bigBundle(999, 100_000).Pack()
			t.Logf("then another in its place: %v, peak %d MiB", putBundle(w, raw).Round(10*time.Millisecond), memoryPeak(t, w.agent.PID())>>20)
		}
		w.stopOnly()
	}
	t.Logf("least: %v; peak of the child %d MiB", least.Round(10*time.Millisecond), childPeak(t, w.agent.Binary, raw)>>20)
}

// putBundle changes the bundle and returns how long after that the stream told
// that it is in force.
func putBundle(w *world, raw []byte) time.Duration {
	w.t.Helper()
	seen := len(w.stream.All())
	w.must(os.WriteFile(w.bundle+".new", raw, 0o644))
	start := time.Now()
	w.must(os.Rename(w.bundle+".new", w.bundle))
	n := 0
	_, err := w.stream.Until(w.wait(), func(e *event.Event) bool {
		n++
		return n > seen && e.Agent != nil && e.Agent.Code == "policy-change"
	})
	w.must(err)
	return time.Since(start)
}

// childPeak loads a bundle in a process of its own as the agent does, and
// returns the most memory that this had resident, in bytes.
func childPeak(t *testing.T, binary string, raw []byte) int64 {
	t.Helper()
	var in bytes.Buffer
	tw := tar.NewWriter(&in)
	err := tw.WriteHeader(&tar.Header{Name: "0", Mode: 0o600, Size: int64(len(raw))})
	if err == nil {
		_, err = tw.Write(raw)
	}
	if err = errors.Join(err, tw.Close()); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "try-bundle")
	cmd.Stdin = &in
	if out, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(out), "errors") {
		t.Fatalf("try the bundle: %v: %s", err, out)
	}
	return cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
}

// memoryPeak is the most memory that a process ever had resident, in bytes.
func memoryPeak(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(b), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(text, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

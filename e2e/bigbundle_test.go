package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
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
	w.write(w.bundle, bigBundle(1, 1).Pack(), 0o644)
	raw := bigBundle(1000, 100_000).Pack()
	w.start(event.ModeEnforce)
	_ = w.stream.Close()
	before, err := harness.ProcessCPU(w.agent.PID())
	w.must(err)
	peak := memoryPeak(t, w.agent.PID())
	start := time.Now()
	w.write(w.bundle, raw, 0o644)
	eventually(t, "the big bundle is in force", func() bool {
		st, err := w.agent.Status(w.wait())
		return err == nil && st.Generation == 2
	})
	took := time.Since(start)
	after, err := harness.ProcessCPU(w.agent.PID())
	w.must(err)
	t.Logf("1,001 rules and 100,000 entries (%d KiB packed): in force %v after the file changed (half a second of it until the change is noticed); the agent took %v of processor time; its peak was %d MiB, %d MiB before",
		len(raw)>>10, took.Round(10*time.Millisecond), after-before, memoryPeak(t, w.agent.PID())>>20, peak>>20)
	w.stopOnly()
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

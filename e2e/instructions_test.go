package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// envBench asks for the measurements, which are no tests of right and wrong.
const envBench = "BAILIFF_E2E_BENCH"

// A rule about one program and one directory: others are not concerned.
const costPolicy = `package bailiff.open

# METADATA
# title: A listed program opens what is below a directory
# custom: {id: cost-prefix}
%s contains {"message": "cost"} if {
	input.process.exe.path in data.e2e.subjects
	some dir in data.e2e.vaults
	startswith(input.file.path, dir)
}

# METADATA
# title: A listed program opens a listed file
# custom: {id: cost-set}
%s contains {"message": "cost"} if {
	input.process.exe.path in data.e2e.subjects
	input.file.path in data.e2e.secrets
}
`

// TestInstructions counts, in a guest whose clock counts instructions, what
// enforcement adds to opening a file. docs/performance.md has the figures.
func TestInstructions(t *testing.T) {
	if os.Getenv(envBench) == "" || !inGuest() {
		t.Skip("a measurement for a guest that counts instructions: make bench")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Where a program lies is part of what a fork of it costs.
	if err := os.WriteFile("/proc/sys/kernel/randomize_va_space", []byte("0"), 0o644); err != nil {
		t.Fatal(err)
	}
	bare, bareSpawn := map[string]int64{}, map[string]int64{}
	for _, rules := range []struct {
		name           string
		rules, entries int
	}{{"1 rule", 1, 1}, {"1000 rules and 100000 entries", 1000, 100000}} {
		for _, verdict := range []string{"deny", "alert"} {
			w := newWorld(t, lsm)
			subject := w.path("bin/subject")
			w.must(os.MkdirAll(filepath.Dir(subject), 0o755))
			w.must(copyFile(self, subject))
			files := map[string]string{
				"shallow":      w.path("plain/shallow"),
				"watched":      w.path("watched"), // a rule names something in this directory
				"deep":         w.path("1/2/3/4/5/6/7/file"),
				"deep, judged": w.path("vault/2/3/4/5/6/7/file"),
			}
			for _, f := range files {
				w.write(f, []byte("content"), 0o644)
			}
			secrets := make([]string, rules.entries)
			for i := range secrets {
				secrets[i] = fmt.Sprintf("/e2e/listed/%d", i)
			}
			modules := map[string]string{
				"open":      fmt.Sprintf(costPolicy, verdict, verdict),
				"more_open": moreRules("open", rules.rules),
				"more_exec": moreRules("exec", rules.rules),
			}
			w.policy(map[string]any{"subjects": []string{subject}, "vaults": []string{w.path("vault") + "/"}, "secrets": secrets}, modules)

			const spawns = 300
			programs := map[string]string{
				"fork+exec+exit, smallest program": w.path("exit"),
				"fork+exec+exit, busybox true":     w.staticTrue(),
			}
			w.must(harness.WriteProgram(w.path("exit"), harness.ExitProgram()))
			for _, exit := range programs {
				w.must(harness.WriteProgram(exit+"-one", harness.SpawnProgram(exit, 1)))
				w.must(harness.WriteProgram(exit+"-many", harness.SpawnProgram(exit, spawns)))
			}

			concerned, other, outside := w.actor(), w.actor(), w.actor()
			concerned.Program = subject
			outside.Cgroup = nil
			read := func(a harness.Actor, step ...string) int64 {
				o, err := a.Do(step)
				if err != nil {
					t.Fatal(err)
				}
				n, err := harness.ReadMeasured(o)
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			measure := func(a harness.Actor, file string) int64 { return read(a, "measure", files[file]) }
			spawn := func(a harness.Actor, exit string) int64 {
				// So many that what allocators do now and then is in it, on average.
				return read(a, "measure-spawn", exit+"-many", exit+"-one", fmt.Sprint(spawns), "3")
			}
			for f := range files {
				if _, ok := bare[f]; !ok {
					bare[f] = measure(other, f)
					t.Logf("%-32s %-40s %6d", "no agent", "open+close, "+f, bare[f])
				}
			}
			for name, exit := range programs {
				if _, ok := bareSpawn[name]; !ok {
					bareSpawn[name] = spawn(other, exit)
					t.Logf("%-32s %-40s %6d", "no agent", name, bareSpawn[name])
				}
			}
			w.start(event.ModeEnforce)
			_ = w.stream.Close() // its reader would share the processor
			report := func(what string, a harness.Actor, file string) {
				n := measure(a, file)
				t.Logf("%-32s %-40s %6d  %+6d", rules.name+", "+verdict, what+", "+file, n, n-bare[file])
			}
			if verdict == "deny" {
				report("process not concerned", other, "shallow")
				report("process not concerned", other, "watched")
				report("process not concerned", other, "deep, judged")
				report("concerned, file is not", concerned, "shallow")
				report("concerned, file is not", concerned, "deep")
			}
			if verdict == "deny" {
				// What the agent does with its events is not measured here.
				w.must(w.agent.Pause())
				for what, a := range map[string]harness.Actor{"in scope, told": other, "out of scope": outside} {
					for name, exit := range programs {
						n, b := spawn(a, exit), bareSpawn[name]
						t.Logf("%-32s %-40s %6d  %+6d (%.1f %%)", rules.name+", "+what, name, n, n-b, 100*float64(n-b)/float64(b))
					}
				}
				w.must(w.agent.Resume())
			}
			// No more events than fit the ring: one without its event would be cheaper.
			n := read(concerned, "measure", files["deep, judged"], "25")
			t.Logf("%-32s %-40s %6d  %+6d", rules.name+", "+verdict, verdict+", deep, judged", n, n-bare["deep, judged"])
			status, err := w.agent.Status(w.wait())
			w.must(err)
			if lost := status.Counters["kernel_drop_ring_full_open"] + status.Counters["kernel_drop_ring_full_exec"]; lost != 0 || status.Counters["kernel_events_open"] < 1250 {
				t.Errorf("%d events did not fit the ring, %d did: not what was to be measured", lost, status.Counters["kernel_events_open"])
			}
			if err := w.agent.Stop(w.wait()); err != nil {
				t.Error(err)
			}
		}
	}
}

// moreRules returns a module with n-1 rules that hold for nothing that is measured.
func moreRules(hook string, n int) string {
	m := "package bailiff." + hook + "\n\n"
	for i := 1; i < n; i++ {
		m += fmt.Sprintf("# METADATA\n# custom: {id: more-%s-%d}\ndeny contains {} if {\n\tinput.process.exe.path == \"/e2e/no/%d\"\n\tinput.file.path == \"/e2e/none/%d\"\n}\n\n", hook, i, i, i)
	}
	return m
}

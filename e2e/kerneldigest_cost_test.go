package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

const digestCostPolicy = `package bailiff.exec

# METADATA
# custom: {id: cost-digest}
deny contains "cost" if {
	some dir in data.e2e.dirs
	startswith(input.file.path, dir)
	input.file.sha256 in data.e2e.bad
}
`

// TestDigestCost counts, in a guest whose clock counts instructions, what a rule on
// digests adds to an exec. docs/performance.md has the figures.
func TestDigestCost(t *testing.T) {
	if os.Getenv(envBench) == "" || !inGuest() {
		t.Skip("a measurement for a guest that counts instructions: make bench")
	}
	w := &digestWorld{world: newWorld(t, lsm)}
	dirs := map[string]string{"no rule on it": w.path("plain"), "tmpfs": w.path("d"), "ext4": w.disk()}
	var bad []string
	for i := range 100_000 {
		bad = append(bad, sumOf(fmt.Append(nil, i)))
	}
	w.policy(map[string]any{"dirs": []string{dirs["tmpfs"] + "/", dirs["ext4"] + "/"}, "bad": bad}, map[string]string{"exec": digestCostPolicy})
	type program struct{ where, exit, one, many string }
	var programs []program
	const spawns = 8
	sizes := []int{4 << 10, 1 << 20}
	for _, where := range []string{"no rule on it", "tmpfs", "ext4"} {
		for i, size := range sizes {
			p := program{fmt.Sprintf("%s, %d KiB", where, size>>10), fmt.Sprintf("%s/%d", dirs[where], size), w.path(fmt.Sprint("one", where, i)), w.path(fmt.Sprint("many", where, i))}
			w.write(p.exit, append(harness.ExitProgram(), make([]byte, size)...), 0o755)
			w.write(p.one, harness.SpawnProgram(p.exit, 1), 0o755)
			w.write(p.many, harness.SpawnProgram(p.exit, spawns), 0o755)
			programs = append(programs, p)
		}
	}
	spawn := func(p program) int64 {
		o, err := w.actor().Do([]string{"measure-spawn", p.many, p.one, fmt.Sprint(spawns), "60"})
		w.must(err)
		n, err := harness.ReadMeasured(o)
		w.must(err)
		return n
	}
	bare := map[string]int64{}
	for _, p := range programs {
		bare[p.where] = spawn(p)
	}
	w.write(filepath.Join(w.bundle, "exec.rego"), []byte(strings.Replace(digestCostPolicy, "file.sha256", "file.name", 1)), 0o644)
	w.start(event.ModeEnforce)
	_ = w.stream.Close() // its reader would share the processor
	n := spawn(programs[0])
	t.Logf("fork+exec+exit, %-28s %9d without an agent, %+9d with one whose rules read no digest", programs[0].where, bare[programs[0].where], n-bare[programs[0].where])
	w.must(w.agent.Stop(w.wait()))
	w.write(filepath.Join(w.bundle, "exec.rego"), []byte(digestCostPolicy), 0o644)
	w.start(event.ModeEnforce)
	_ = w.stream.Close()
	for _, p := range programs {
		n := spawn(p)
		t.Logf("fork+exec+exit, %-28s %9d without an agent, %+9d with it", p.where, bare[p.where], n-bare[p.where])
	}
	st, err := w.agent.Status(w.wait())
	w.must(err)
	t.Logf("computed %d, known %d, unknown %d", st.Counters["kernel_digest_computed"], st.Counters["kernel_digest_known"], st.Counters["kernel_digest_unknown"])
	w.must(w.agent.Stop(w.wait()))
}

// TestGuestDigestCost runs it.
func TestGuestDigestCost(t *testing.T) { measureInGuests(t, "^TestDigestCost$") }

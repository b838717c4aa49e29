package e2e

import (
	"fmt"
	"os"
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
	// measured prints what an agent adds whose rule reads this field.
	measured := func(field string, list []string, programs ...program) {
		t.Helper()
		w.policy(map[string]any{"dirs": []string{dirs["tmpfs"] + "/", dirs["ext4"] + "/"}, "bad": list}, map[string]string{"exec": strings.Replace(digestCostPolicy, "file.sha256", field, 1)})
		w.start(event.ModeEnforce)
		_ = w.stream.Close() // its reader would share the processor
		for _, p := range programs {
			n := spawn(p)
			t.Logf("fork+exec+exit, %-28s %9d without an agent, %+9d with one whose rule reads %s", p.where, bare[p.where], n-bare[p.where], field)
		}
		st, err := w.agent.Status(w.wait())
		w.must(err)
		t.Logf("%s: computed %d, known %d, unknown %d, of fs-verity %d", field, st.Counters["kernel_digest_computed"], st.Counters["kernel_digest_known"], st.Counters["kernel_digest_unknown"], st.Counters["kernel_verity_known"])
		w.must(w.agent.Stop(w.wait()))
	}
	measured("file.name", bad, programs[0])
	measured("file.sha256", bad, programs...)
	if olderGuest() {
		return // nobody tells it of fs-verity
	}
	for i := range bad {
		bad[i] = "sha256:" + bad[i]
	}
	sealed := programs[len(programs)-2]
	before := spawn(sealed)
	measured("file.verity", bad, programs[0], sealed)
	w.must(seal(sealed.exit, 1, nil))
	sealed.where += ", sealed"
	bare[sealed.where] = spawn(sealed)
	t.Logf("fork+exec+exit, %-28s %+9d without an agent for that", sealed.where, bare[sealed.where]-before)
	measured("file.verity", bad, sealed)
}

// TestGuestDigestCost runs it.
func TestGuestDigestCost(t *testing.T) { measureInGuests(t, "^TestDigestCost$") }

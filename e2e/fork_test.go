package e2e

import (
	"strconv"
	"strings"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// A cgroup of the test holds few processes: the limit is well above what the
// act programs need themselves.
const forkPolicy = `package bailiff.fork

# METADATA
# title: A user makes a process
# custom: {id: e2e-fork-user}
deny contains {"message": "user"} if input.process.uid == 4242

# METADATA
# title: Too many processes in the cgroup
# custom: {id: e2e-fork-many}
deny contains {"message": sprintf("%d processes", [input.process.cgroup.processes])} if {
	input.process.cgroup.processes >= 20
}

# METADATA
# title: Processes are made too fast
# custom: {id: e2e-fork-rate}
deny contains {"message": sprintf("%d a second", [input.process.cgroup.forks_per_second])} if {
	input.process.uid == 4244
	input.process.cgroup.forks_per_second >= 8
}
`

// TestFork shows that making a process is refused, that threads and the
// processes of others are not, and that a limit holds exactly.
func TestFork(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for _, mode := range modesOf(backend) {
			if mode == event.ModeEnforce && !refuses(backend) {
				continue
			}
			t.Run(mode.String(), func(t *testing.T) { testForks(t, backend, mode) })
		}
	})
}

func testForks(t *testing.T, backend string, mode event.Mode) {
	w := newWorld(t, backend)
	w.policy(map[string]any{}, map[string]string{"fork": forkPolicy})
	w.start(mode)
	marker := w.path("marker")
	w.write(w.path("prog"), harness.MarkerProgram(marker), 0o755)
	for _, tt := range []struct {
		name  string
		rule  string
		steps [][]string
	}{
		{name: "fork", rule: "e2e-fork-user", steps: steps([]string{"setuid", "4242"}, []string{"fork"})},
		{name: "vfork", rule: "e2e-fork-user", steps: steps([]string{"setuid", "4242"}, []string{"spawn", w.path("prog")})},
		{name: "fork from a thread", rule: "e2e-fork-user", steps: steps([]string{"setuid", "4242"}, []string{"thread", "fork"})},
		{name: "too many", rule: "e2e-fork-many", steps: steps([]string{"crowd", "40"})},
		{name: "too fast", rule: "e2e-fork-rate", steps: steps([]string{"setuid", "4244"}, []string{"fork", "100"})},
		{name: "thread", steps: steps([]string{"setuid", "4242"}, []string{"thread", "nop"})},
		{name: "another user", steps: steps([]string{"setuid", "4243"}, []string{"fork", "3"})},
		{name: "not too many", steps: steps([]string{"crowd", "15"})},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			w := w.in(t)
			o, events := w.do(w.actor(), tt.steps...)
			want, effect := promised(tt.rule, mode)
			if o.Last() != want || len(o.Steps) != len(tt.steps) {
				t.Errorf("got %v, want errno %d at the last step", o, want)
			}
			if tt.rule == "" {
				if e := anyDenial(events); e != nil {
					t.Errorf("denied on record: %s", show(e))
				}
				return
			}
			found := denials(events, event.HookFork, tt.rule)
			if len(found) == 0 {
				t.Fatalf("no event of the denial among %d", len(events))
			}
			if d := found[0].Decision; d.Effect != effect || d.Mode != mode {
				t.Errorf("decision is %+v, want effect %v in mode %v", d, effect, mode)
			}
			if tt.rule == "e2e-fork-many" && mode == event.ModeEnforce {
				// The act program itself is the first of the twenty.
				if n, _ := strconv.Atoi(o.Steps[0].Text); n != 19 {
					t.Errorf("%d processes could be made, want 19", n)
				}
				if found[0].CgroupProcs != 20 {
					t.Errorf("the event tells of %d processes, want 20", found[0].CgroupProcs)
				}
			}
		})
	}
	w.stop()
}

package bpf

import (
	"path/filepath"
	"testing"
	"time"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// TestExecRate: a cgroup that executes too often in a second is stopped, and
// goes on when it has become slower.
func TestExecRate(t *testing.T) {
	const limit = 5
	w := newWorld(t, Options{})
	prog := filepath.Join(t.TempDir(), "prog")
	if err := harness.WriteProgram(prog, harness.ExitProgram()); err != nil {
		t.Fatal(err)
	}
	w.enforce(denyExec(ir.Cond{Field: event.FieldExecRate, Op: ir.OpLess, Nums: []uint64{limit}, Negated: true}))
	until := func(killed bool) (before int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); before++ {
			got, err := w.starts(nil, prog)
			if err != nil && !got {
				t.Fatal(err)
			}
			ev := w.events(event.HookExec, 1)[0]
			if ev.CgroupRate >= limit != got || (ev.Decision.Effect == event.EffectKilled) != got {
				t.Fatalf("at %d execs per second: killed %v, effect %s", ev.CgroupRate, got, ev.Decision.Effect)
			}
			if got == killed {
				return before
			}
		}
		t.Fatalf("after %d execs it was not killed: %v", before, killed)
		return 0
	}
	if n := until(true); n < limit {
		t.Errorf("killed after %d execs, want %d at least", n, limit)
	}
	until(false)
}

// TestForkRate: the same for forks; what does not fork so often goes on.
func TestForkRate(t *testing.T) {
	w := newWorld(t, Options{})
	w.enforce(&ir.Program{Revision: "test", Rules: map[event.Hook][]ir.Rule{event.HookFork: {{
		Ref: event.RuleRef{ID: "test-rate"}, Verdict: event.VerdictDeny, Kill: true,
		Clauses: []ir.Clause{{When: []ir.Cond{{Field: event.FieldForkRate, Op: ir.OpLess, Nums: []uint64{30}, Negated: true}}}},
	}}}})
	if killed, err := w.starts(nil, "/bin/sh", "-c", "for i in 1 2 3 4 5; do (:); done"); err != nil {
		t.Errorf("a few forks: killed %v, %v", killed, err)
	}
	if killed, err := w.starts(nil, "/bin/sh", "-c", "while :; do (:); done"); !killed {
		t.Errorf("many forks ended with %v", err)
	}
	for _, ev := range w.events(event.HookFork, 30) {
		if fired := ev.Decision.Verdict == event.VerdictDeny; fired != (ev.CgroupRate >= 30) {
			t.Errorf("at %d forks per second: %s", ev.CgroupRate, ev.Decision.Verdict)
		}
	}
}

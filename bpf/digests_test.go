package bpf

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

func digests(from, to int) []string {
	var out []string
	for i := range to - from {
		s := sha256.Sum256(fmt.Append(nil, from+i))
		out = append(out, hex.EncodeToString(s[:]))
	}
	slices.Sort(out)
	return out
}

func inDigests(list []string) ir.Cond {
	return ir.Cond{Field: event.FieldSHA256, Op: ir.OpIn, Strs: list}
}

func not(c ir.Cond) ir.Cond {
	c.Negated = true
	return c
}

// TestDigestTable: as many entries as there are digests in lists, as many vectors
// as there are kinds of them.
func TestDigestTable(t *testing.T) {
	const many = 100_000
	all, some := digests(0, many), digests(0, many/2)
	p := &ir.Program{Rules: map[event.Hook][]ir.Rule{event.HookExec: {
		{Verdict: event.VerdictDeny, Clauses: []ir.Clause{{When: []ir.Cond{inDigests(all), {Field: event.FieldUID, Op: ir.OpIn, Nums: []uint64{0}}}}}},
		{Verdict: event.VerdictDeny, Clauses: []ir.Clause{{When: []ir.Cond{not(inDigests(some))}}}},
	}}}
	tb := compile(p)
	if len(tb.digests) != many || len(tb.vecs) > 16 || !tb.needsDigests() || len(tb.weakenedRules()) > 0 {
		t.Errorf("%d digests, %d vectors, weakened: %v", len(tb.digests), len(tb.vecs), tb.weakenedRules())
	}
	kinds := map[uint32]int{}
	for _, id := range tb.digests {
		kinds[id]++
	}
	if len(kinds) != 2 {
		t.Errorf("vectors of digests: %v", kinds)
	}
}

// TestDigestKeys: that a rule reads digests is no reason not to keep verdicts of
// others, and what holds only for want of a digest is told from them.
func TestDigestKeys(t *testing.T) {
	deferred := ir.Rule{Verdict: event.VerdictDeny, Clauses: []ir.Clause{{Maybe: true, Reads: []string{"file.path"}}}}
	listed := ir.Rule{Verdict: event.VerdictDeny, Undecided: ir.UndecidedDeny, Clauses: []ir.Clause{{When: []ir.Cond{not(inDigests(digests(0, 3)))}}}}
	without := compile(&ir.Program{Rules: map[event.Hook][]ir.Rule{event.HookExec: {deferred}}})
	with := compile(&ir.Program{Rules: map[event.Hook][]ir.Rule{event.HookExec: {listed, deferred}}})
	if a, b := without.conf[0].Key, with.conf[0].Key; a != b || a&keyNone != 0 {
		t.Errorf("the key is %#x with a rule on digests, %#x without", b, a)
	}
	if without.needsDigests() || without.conf[0].UsesDigest != 0 || !with.needsDigests() || with.conf[0].UsesDigest != 1 {
		t.Error("who needs digests is not known")
	}
	blind := 0
	for i := range with.hooks[0].bits {
		if with.blindAt(event.HookExec, uint32(i)) {
			blind++
			if r := with.ruleOf(event.HookExec, uint32(i)); r.Undecided != ir.UndecidedDeny || uint32(i) >= with.conf[0].MaybeAllowFrom {
				t.Error("without a digest the rule's own word does not count")
			}
		}
	}
	if blind != 1 {
		t.Errorf("%d clauses stand for an unknown digest", blind)
	}
}

// TestComputesDigests: the guests' kernels do, with the LSM and with nothing else.
func TestComputesDigests(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, backend := range []string{BackendModifyReturn, BackendTracepoint} {
		if ComputesDigests(backend) == nil {
			t.Errorf("with the %s backend", backend)
		}
	}
	refused := tryProgram("floor_open")
	var err error
	for range 2 { // the kernel's types are read once
		start := time.Now()
		err = ComputesDigests(BackendAuto)
		t.Logf("%v, after %v", err, time.Since(start))
	}
	if refused != nil && err == nil {
		t.Error("without LSM programs")
	}
	if os.Getenv("BAILIFF_E2E_GUEST") != "" && err != nil {
		t.Error(err)
	}
}

package bpf

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
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
	if len(tb.digests) != many || len(tb.vecs) > 16 || !tb.needsDigest(event.FieldSHA256) || len(tb.weakenedRules()) > 0 {
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
	if without.needsDigest(event.FieldSHA256) || without.conf[0].UsesDigest != 0 || !with.needsDigest(event.FieldSHA256) || with.conf[0].UsesDigest != 1 {
		t.Error("who needs digests is not known")
	}
	read := ir.Rule{Verdict: event.VerdictDeny, Clauses: []ir.Clause{{Maybe: true, Reads: []string{"file.verity"}}}}
	for _, held := range []bool{false, true} {
		read.Hold = held
		tb := compile(&ir.Program{Rules: map[event.Hook][]ir.Rule{event.HookExec: {read}}})
		if tb.needsDigest(event.FieldVerity) == held || tb.needsDigest(event.FieldSHA256) {
			t.Errorf("held: %v: who needs which digest is not known", held)
		}
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

// TestLongDigests: one of fs-verity is found by all of it, whatever else is listed,
// and is another one than the SHA-256 of a content with the same digits.
func TestLongDigests(t *testing.T) {
	a, b := strings.Repeat("a", 64), strings.Repeat("b", 64)
	listed := []string{"sha256:" + a, "sha256:" + b, "sha512:" + a + a, "sha512:" + a + b, "sha512:" + b + b}
	rule := func(c ir.Cond) ir.Rule {
		return ir.Rule{Verdict: event.VerdictDeny, Clauses: []ir.Clause{{When: []ir.Cond{c}}}}
	}
	var rules []ir.Rule
	for _, s := range listed {
		rules = append(rules, rule(ir.Cond{Field: event.FieldVerity, Op: ir.OpIn, Strs: []string{s}}))
	}
	rules = append(rules, rule(inDigests([]string{a})))
	tb := compile(&ir.Program{Rules: map[event.Hook][]ir.Rule{event.HookExec: rules}})
	seen := map[uint32]string{}
	for _, s := range append(listed, a) {
		vec, ok := tb.listed(s)
		if !ok || seen[vec] != "" {
			t.Errorf("%s: listed %v, by the vector of %q", s, ok, seen[vec])
		}
		seen[vec] = s
	}
	for _, s := range []string{"", "?", b, "sha512:" + b + a, "sha512:" + a, "sha256:" + a + a, "md5:" + a, "sha512:" + strings.Repeat("c", 128)} {
		if _, ok := tb.listed(s); ok {
			t.Errorf("%s is listed", s)
		}
	}
	if hc := tb.conf[0]; hc.UsesDigest != 3 || !tb.needsDigest(event.FieldVerity) || !tb.needsDigest(event.FieldSHA256) {
		t.Errorf("digests that are used: %#x", hc.UsesDigest)
	}
}

// TestVerityRecord: what a record says of fs-verity: nothing, that there is none, a
// digest, or what is damaged.
func TestVerityRecord(t *testing.T) {
	raw := func(of uint32, n int) []byte {
		return append(binary.LittleEndian.AppendUint32([]byte("path"), of), bytes.Repeat([]byte{0xab}, n)...)
	}
	for _, tt := range []struct {
		flags uint16
		data  []byte
		want  string
	}{
		{0, raw(veritySHA256, 64), ""},
		{flagVerity, []byte("path"), event.NoVerity},
		{flagVerity, raw(veritySHA256, 64), "sha256:" + strings.Repeat("ab", 32)},
		{flagVerity, raw(veritySHA512, 64), "sha512:" + strings.Repeat("ab", 64)},
		{flagVerity, raw(veritySHA512, 63), ""},
		{flagVerity, raw(ofContent, 64), ""},
	} {
		r := kernelRecord{Flags: tt.flags, VerityOff: 4, VerityLen: uint16(len(tt.data) - 4)}
		if got := withDigests(&event.File{}, &r, tt.data).Verity; got != tt.want {
			t.Errorf("%#x, %d bytes: %q, want %q", tt.flags, r.VerityLen, got, tt.want)
		}
	}
}

// FuzzVerityRecord: whatever a record says, a file has a digest that rules can name,
// none, or nothing is known.
func FuzzVerityRecord(f *testing.F) {
	f.Add([]byte{}, uint16(0), uint16(0), uint16(flagVerity))
	f.Add(append([]byte{1, 0, 32, 0}, make([]byte, 64)...), uint16(0), uint16(68), uint16(flagVerity))
	f.Add(append([]byte{2, 0, 64, 0}, make([]byte, 64)...), uint16(0), uint16(68), uint16(flagVerity|flagDigest))
	f.Add([]byte("path\x01\x00\x20\x00"), uint16(4), uint16(68), uint16(flagVerity))
	f.Fuzz(func(t *testing.T, data []byte, off, n, flags uint16) {
		r := kernelRecord{Flags: flags, VerityOff: off, VerityLen: n}
		out := withDigests(&event.File{}, &r, data)
		if v := out.Verity; v != "" && v != event.NoVerity && !ir.IsDigest(event.FieldVerity, v) {
			t.Errorf("%q", v)
		} else if v == event.NoVerity && n != 0 {
			t.Error("what is damaged is taken for none")
		}
	})
}

// TestKnowsDigest: the guests' kernels do, with the LSM and with nothing else; the
// older one is too old for fs-verity.
func TestKnowsDigest(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, field := range event.OnlyAtGate {
		for _, backend := range []string{BackendModifyReturn, BackendTracepoint} {
			if KnowsDigest(field, backend) == nil {
				t.Errorf("%s with the %s backend", field, backend)
			}
		}
		refused := tryProgram("floor_open")
		var err error
		for range 2 { // the kernel's types are read once
			start := time.Now()
			err = KnowsDigest(field, BackendAuto)
			t.Logf("%s: %v, after %v", field, err, time.Since(start))
		}
		if refused != nil && err == nil {
			t.Errorf("%s without LSM programs", field)
		}
		guest := os.Getenv("BAILIFF_E2E_GUEST")
		if old := guest == "6.1" && field == "file.verity"; guest != "" && old != (err != nil) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if KnowsDigest("file.name", BackendAuto) == nil {
		t.Error("a name is no digest")
	}
}

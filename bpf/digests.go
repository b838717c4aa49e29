package bpf

import (
	"encoding/hex"
	"slices"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Digests that have no vector of their own, as in digest.h.
const (
	digestUnknown = iota
	digestOther
	digestNone
)

// unknownDigest stands in a condition of the tables for a digest that is not
// known. It is like no digest that is.
const unknownDigest = "?"

// digestSum is a key of the kernel's table.
type digestSum [32]byte

// ofDigest reports whether a condition is about the file's digest and cannot be
// decided without one. That the digest is "" can.
func ofDigest(c *ir.Cond) bool {
	return c.Field == event.FieldSHA256 && !slices.Contains(c.Strs, "")
}

// withoutDigest adds to the clauses what is left of them where the digest is not
// known: uncertain ones, about which the rule says what happens.
func withoutDigest(clauses []ir.Clause) []ir.Clause {
	blind := ir.Cond{Field: event.FieldSHA256, Op: ir.OpIn, Strs: []string{unknownDigest}}
	for _, c := range clauses[:len(clauses):len(clauses)] {
		if !slices.ContainsFunc(c.When, func(w ir.Cond) bool { return ofDigest(&w) }) {
			continue
		}
		rest := slices.DeleteFunc(slices.Clone(c.When), func(w ir.Cond) bool { return ofDigest(&w) })
		reads := append(slices.Clone(c.Reads), event.FieldByID(event.FieldSHA256).Path)
		clauses = append(clauses, ir.Clause{When: append(rest, blind), Maybe: true, Reads: reads})
	}
	return clauses
}

// isBlind: one of those that withoutDigest has added.
func isBlind(c *ir.Clause) bool {
	return slices.ContainsFunc(c.When, func(w ir.Cond) bool {
		return w.Field == event.FieldSHA256 && slices.Contains(w.Strs, unknownDigest)
	})
}

// digestVecs makes the vectors of digests: of each that rules list, and of those
// that have none of their own.
func (t *tables) digestVecs() {
	hb, hc := &t.hooks[event.HookExec-1], &t.conf[event.HookExec-1]
	t.digests = map[digestSum]uint32{}
	if !slices.ContainsFunc(hb.bits, func(b clauseBit) bool {
		return slices.ContainsFunc(b.clause.When, func(w ir.Cond) bool { return w.Field == event.FieldSHA256 })
	}) {
		return
	}
	hc.UsesDigest = 1
	hc.DigestVec[digestUnknown] = t.digestVec(func(c *ir.Cond, _ int) bool {
		if ofDigest(c) && !slices.Contains(c.Strs, unknownDigest) {
			return false // the blind clause beside it is what may hold
		}
		return !c.Negated
	})
	hc.DigestVec[digestOther] = t.digestVec(func(c *ir.Cond, _ int) bool { return c.Negated })
	hc.DigestVec[digestNone] = t.digestVec(func(c *ir.Cond, _ int) bool { return slices.Contains(c.Strs, "") != c.Negated })
	byTests := map[string]uint32{}
	for s, tests := range t.tests.digests {
		sum, err := hex.DecodeString(s)
		if err != nil || len(sum) != len(digestSum{}) {
			continue // "", and what stands for an unknown one
		}
		met := truth{tests}
		key := met.key("d")
		id, known := byTests[key]
		if !known {
			id = t.digestVec(func(c *ir.Cond, test int) bool { return met.has(test) != c.Negated })
			byTests[key] = id
		}
		t.digests[digestSum(sum)] = id
	}
}

// digestVec is the vector of the clauses of an exec whose conditions on the digest
// hold.
func (t *tables) digestVec(holds func(c *ir.Cond, test int) bool) uint32 {
	hb := &t.hooks[event.HookExec-1]
	return t.vecWhere(hb, func(i int) bool {
		b := &hb.bits[i]
		for k := range b.clause.When {
			if c := &b.clause.When[k]; c.Field == event.FieldSHA256 && !holds(c, b.tests[k]) {
				return false
			}
		}
		return true
	})
}

// digestOf returns the vector that the kernel finds for a key.
func (t *tables) digestOf(k *ir.Key) uint32 {
	vecs := &t.conf[event.HookExec-1].DigestVec
	if k.NoDigest {
		return vecs[digestUnknown]
	}
	if len(k.Str[event.FieldSHA256]) == 0 || k.Str[event.FieldSHA256][0] == "" {
		return vecs[digestNone]
	}
	sum, err := hex.DecodeString(k.Str[event.FieldSHA256][0])
	if err == nil && len(sum) == len(digestSum{}) {
		if id, ok := t.digests[digestSum(sum)]; ok {
			return id
		}
	}
	return vecs[digestOther]
}

// needsDigests reports whether the kernel has to compute digests: for a
// condition, or for what user space is asked about.
func (t *tables) needsDigests() bool {
	return slices.ContainsFunc(t.fitted[event.HookExec], func(r ir.Rule) bool {
		return slices.ContainsFunc(r.Clauses, func(c ir.Clause) bool { return c.ReadsDigest() })
	})
}

// blindAt reports whether a bit of a hook's vectors stands for what is left of a
// clause without the digest.
func (t *tables) blindAt(h event.Hook, bit uint32) bool {
	hb := &t.hooks[h.Package()-1]
	return int(bit) < len(hb.bits) && isBlind(&hb.bits[bit].clause)
}

// withDigest adds to a file the digest that its record holds, if it does.
func withDigest(f *event.File, r *kernelRecord) *event.File {
	if r.Flags&flagDigest == 0 {
		return f
	}
	out := *f // others share it
	out.SHA256 = hex.EncodeToString(r.Sha256[:])
	return &out
}

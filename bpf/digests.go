package bpf

import (
	"encoding/hex"
	"slices"
	"strings"
	"unsafe"

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

// What digests of the kernel's table are of, as in wire.h.
const (
	ofContent    = 0
	veritySHA256 = 1 | 32<<16
	veritySHA512 = 2 | 64<<16
	verityRest   = 0x80000000
)

// keysOf are the keys of a digest in the kernel's table: two for the halves of a
// long one, of which the second wants what is found for the first. There are none
// for "" and for what stands for an unknown one.
func keysOf(digest string) []kernelDigestKey {
	algorithm, hash, ofVerity := strings.Cut(digest, ":")
	if !ofVerity {
		algorithm, hash = "", digest
	}
	sum, err := hex.DecodeString(hash)
	switch of, known := map[string]uint32{"": ofContent, "sha256": veritySHA256, "sha512": veritySHA512}[algorithm]; {
	case err != nil || !known:
		return nil
	case of == veritySHA512 && len(sum) == 64:
		return []kernelDigestKey{{Of: of, Sum: [32]byte(sum)}, {Of: verityRest, Sum: [32]byte(sum[32:])}}
	case of != veritySHA512 && len(sum) == 32:
		return []kernelDigestKey{{Of: of, Sum: [32]byte(sum)}}
	}
	return nil
}

// list puts a digest into the table.
func (t *tables) list(digest string, vec uint32) {
	keys := keysOf(digest)
	if len(keys) == 2 {
		half, known := t.digests[keys[0]]
		if !known {
			half = uint32(len(t.digests)) // of no other one
			t.digests[keys[0]] = half
		}
		keys[1].Of |= half
	}
	if len(keys) > 0 {
		t.digests[keys[len(keys)-1]] = vec
	}
}

// listed finds a digest there as the kernel does.
func (t *tables) listed(digest string) (vec uint32, ok bool) {
	keys := keysOf(digest)
	if len(keys) == 0 {
		return 0, false
	}
	vec, ok = t.digests[keys[0]]
	if ok && len(keys) == 2 {
		keys[1].Of |= vec
		vec, ok = t.digests[keys[1]]
	}
	return vec, ok
}

// ofDigest reports whether a condition is about a digest of the file and cannot be
// decided without it. That the SHA-256 is "" can: it says that it is not known.
func ofDigest(c *ir.Cond, f event.FieldID) bool {
	return c.Field == f && (f != event.FieldSHA256 || !slices.Contains(c.Strs, ""))
}

// withoutDigests adds to the clauses what is left of them where a digest is not
// known: uncertain ones, about which the rule says what happens.
func withoutDigests(clauses []ir.Clause) []ir.Clause {
	for _, f := range event.Digests {
		blind := ir.Cond{Field: f, Op: ir.OpIn, Strs: []string{unknownDigest}}
		needs := func(w ir.Cond) bool { return ofDigest(&w, f) }
		for _, c := range clauses[:len(clauses):len(clauses)] {
			if !slices.ContainsFunc(c.When, needs) {
				continue
			}
			rest := slices.DeleteFunc(slices.Clone(c.When), needs)
			reads := append(slices.Clone(c.Reads), event.FieldByID(f).Path)
			clauses = append(clauses, ir.Clause{When: append(rest, blind), Maybe: true, Reads: reads})
		}
	}
	return clauses
}

// isBlind: one of those that withoutDigests has added.
func isBlind(c *ir.Clause) bool {
	return slices.ContainsFunc(c.When, func(w ir.Cond) bool {
		return slices.Contains(event.Digests, w.Field) && slices.Contains(w.Strs, unknownDigest)
	})
}

// digestVecs makes the vectors of digests: of each that rules list, and of those
// that have none of their own.
func (t *tables) digestVecs() {
	hb, hc := &t.hooks[event.HookExec-1], &t.conf[event.HookExec-1]
	t.digests = map[kernelDigestKey]uint32{}
	for kind, f := range event.Digests {
		if slices.ContainsFunc(hb.bits, func(b clauseBit) bool {
			return slices.ContainsFunc(b.clause.When, func(w ir.Cond) bool { return w.Field == f })
		}) {
			hc.UsesDigest |= 1 << kind
			t.digestVecsOf(f, &hc.DigestVec[kind])
		}
	}
}

func (t *tables) digestVecsOf(f event.FieldID, vecs *[4]uint32) {
	vecs[digestUnknown] = t.digestVec(f, func(c *ir.Cond, _ int) bool {
		if ofDigest(c, f) && !slices.Contains(c.Strs, unknownDigest) {
			return false // the blind clause beside it is what may hold
		}
		return !c.Negated
	})
	vecs[digestOther] = t.digestVec(f, func(c *ir.Cond, _ int) bool { return c.Negated })
	vecs[digestNone] = t.digestVec(f, func(c *ir.Cond, _ int) bool { return slices.Contains(c.Strs, "") != c.Negated })
	byTests := map[string]uint32{}
	for s, tests := range t.tests.digests[f] {
		met := truth{tests}
		key := met.key("d")
		id, known := byTests[key]
		if !known {
			id = t.digestVec(f, func(c *ir.Cond, test int) bool { return met.has(test) != c.Negated })
			byTests[key] = id
		}
		t.list(s, id)
	}
}

// digestVec is the vector of the clauses of an exec whose conditions on a digest
// hold.
func (t *tables) digestVec(f event.FieldID, holds func(c *ir.Cond, test int) bool) uint32 {
	hb := &t.hooks[event.HookExec-1]
	return t.vecWhere(hb, func(i int) bool {
		b := &hb.bits[i]
		for k := range b.clause.When {
			if c := &b.clause.When[k]; c.Field == f && !holds(c, b.tests[k]) {
				return false
			}
		}
		return true
	})
}

// digestOf returns the vector that the kernel finds for a key; kind is an index
// into event.Digests.
func (t *tables) digestOf(kind int, k *ir.Key) uint32 {
	f, vecs := event.Digests[kind], &t.conf[event.HookExec-1].DigestVec[kind]
	if f == event.FieldSHA256 && k.NoDigest || f == event.FieldVerity && k.NoVerity {
		return vecs[digestUnknown]
	}
	if len(k.Str[f]) == 0 || k.Str[f][0] == "" {
		return vecs[digestNone]
	}
	if id, ok := t.listed(k.Str[f][0]); ok {
		return id
	}
	return vecs[digestOther]
}

// needsDigest reports whether the kernel has to have a digest: for a condition, or
// for what user space is asked about. The gate gets its own, and is asked where the
// kernel has none.
func (t *tables) needsDigest(f event.FieldID) bool {
	return slices.ContainsFunc(t.fitted[event.HookExec], func(r ir.Rule) bool {
		return slices.ContainsFunc(r.Clauses, func(c ir.Clause) bool {
			return slices.ContainsFunc(c.When, func(w ir.Cond) bool { return w.Field == f }) || !r.Held() && c.RestsOn(f)
		})
	})
}

// blindAt reports whether a bit of a hook's vectors stands for what is left of a
// clause without the digest.
func (t *tables) blindAt(h event.Hook, bit uint32) bool {
	hb := &t.hooks[h.Package()-1]
	return int(bit) < len(hb.bits) && isBlind(&hb.bits[bit].clause)
}

// withDigests adds to a file the digests that its record holds.
func withDigests(f *event.File, r *kernelRecord, data []byte) *event.File {
	if r.Flags&(flagDigest|flagVerity) == 0 {
		return f
	}
	out := *f // others share it
	if r.Flags&flagDigest != 0 {
		out.SHA256 = hex.EncodeToString(r.Sha256[:])
	}
	switch {
	case r.Flags&flagVerity == 0:
	case r.VerityLen == 0:
		out.Verity = event.NoVerity
	default:
		out.Verity = verityOf(cut(data, r.VerityOff, r.VerityLen))
	}
	return &out
}

// verityOf reads a digest as the kernel writes it.
func verityOf(raw []byte) string {
	var v kernelVerity
	if len(raw) < int(unsafe.Sizeof(v)) {
		return "" // damaged
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), unsafe.Sizeof(v)), raw)
	switch v.Of {
	case veritySHA256:
		return "sha256:" + hex.EncodeToString(v.Sum[:32])
	case veritySHA512:
		return "sha512:" + hex.EncodeToString(v.Sum[:])
	}
	return ""
}

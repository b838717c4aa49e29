package bpf

import (
	"math/bits"
	"slices"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

const (
	maxObjectDims  = 8
	maxSubjectDims = 12 // of which up to 6 hold tests on ancestors: see below
	maxNumberDims  = 6
	maxAncestors   = 12   // distinct tests on ancestors of one hook; 36 bits in all, 6 a dimension
	maxBounds      = 4096 // intervals of one dimension: 12 steps of binary search
	maxFlagBits    = 6    // bits of one field that share a dimension
)

// numberDim is one numeric dimension of a hook: the conditions that it answers.
type numberDim struct {
	field, other event.FieldID
	mask         uint64
	bits         bool // shared by tests of a few bits: every combination is an interval
	text         bool // its bits are those of tests of text
}

// dimOf returns the dimension that a condition on a number belongs to, before
// bit tests of one field are put together.
func dimOf(c *ir.Cond) (numberDim, bool) {
	switch f := event.FieldByID(c.Field); {
	case f.Kind == event.KindPaths: // a test on ancestors is a bit
		return numberDim{field: c.Field, mask: ^uint64(0)}, true
	case f.Kind == event.KindDigest: // its number is that of a vector
		return numberDim{field: c.Field, mask: ^uint64(0)}, true
	case c.Field == event.FieldArgs: // how many there are
		return numberDim{field: c.Field, mask: ^uint64(0)}, true
	case f.Kind != event.KindInt && f.Kind != event.KindFlags && f.Kind != event.KindNames && f.Kind != event.KindEnum:
		return numberDim{}, false
	case c.Op == ir.OpSame:
		return numberDim{field: c.Field, other: c.Other, mask: ^uint64(0)}, true
	case c.Op == ir.OpMaskEq || c.Op == ir.OpMaskAny:
		return numberDim{field: c.Field, mask: c.Mask}, true
	}
	return numberDim{field: c.Field, mask: ^uint64(0)}, true
}

// dimBudget hands out the dimensions of one hook so that a program never asks
// for more than the kernel has; the ones that rules use first win.
type dimBudget struct {
	subject, object []numberDim
	commit          []numberDim // numbers that are known at commit
	texts           *textTests
	ancestors       map[condID]bool
}

// newDimBudget keeps room for the hook, if a rule reads it: a rule that is
// limited to some acts must not lose that.
func newDimBudget(rules []ir.Rule) *dimBudget {
	b := &dimBudget{ancestors: map[condID]bool{}, texts: newTextTests()}
	for i := range rules {
		for j := range rules[i].Clauses {
			for _, c := range rules[i].Clauses[j].When {
				if c.Field == event.FieldHook {
					b.take(&c)
					return b
				}
			}
		}
	}
	return b
}

// take finds room for a condition: a dimension that answers it already, one
// of the same field that can take its bits too, or a new one.
func (b *dimBudget) take(c *ir.Cond) bool {
	if c.IsText() {
		return b.texts.take(c)
	}
	d, ok := dimOf(c)
	if !ok {
		return true
	}
	if len(c.Nums) > maxBounds/2 {
		return false
	}
	if c.Field == event.FieldAncestors {
		if !b.ancestors[condKey(c)] && len(b.ancestors) >= maxAncestors {
			return false
		}
		b.ancestors[condKey(c)] = true
		return true
	}
	list, limit := &b.object, maxObjectDims
	if event.FieldByID(c.Field).Part == event.PartSubject {
		list, limit = &b.subject, maxNumberDims
	} else if c.Field == event.FieldArgs {
		list = &b.commit
	}
	bitTest := c.Op == ir.OpMaskAny || c.Op == ir.OpMaskEq
	for i := range *list {
		have := &(*list)[i]
		if *have == d {
			return true
		}
		union := have.mask | d.mask
		if bitTest && have.bits && have.field == d.field && bits.OnesCount64(union) <= maxFlagBits {
			have.mask = union
			return true
		}
	}
	if len(*list) >= limit {
		return false
	}
	d.bits = bitTest && bits.OnesCount64(d.mask) <= maxFlagBits
	*list = append(*list, d)
	return true
}

// numbers builds the numeric dimensions of every hook.
func (t *tables) numbers() {
	for i := range t.hooks {
		t.hookConf(i)
	}
	t.commitConf()
}

func (t *tables) hookConf(i int) {
	hb, hc := &t.hooks[i], &t.conf[i]
	hc.Clauses = uint32(len(hb.bits))
	hc.AllVec = t.vec(t.bitsWhere(hb, func(i int) bool { return hb.bits[i].rule >= 0 }))
	t.categories(hb, hc, uint32(hb.late), uint32(len(hb.bits)))
	hc.KillVec = t.vec(t.bitsWhere(hb, func(i int) bool { return hb.kill[i] }))
	hc.Key, hc.HeldKey = t.decisionKeys(hb)
	for j := range hb.bits {
		for k := range hb.bits[j].clause.When {
			switch hb.bits[j].clause.When[k].Field {
			case event.FieldPath:
				hc.UsesPath = 1
			case event.FieldName:
				hc.UsesName = 1
			case event.FieldShell:
				hc.UsesShell = 1
			case event.FieldIdentities:
				hc.UsesPath, hc.UsesIdents = 1, 1 // the path's class says what they are
			}
		}
	}
	for _, d := range t.dims(hb) {
		kd := kernelDim{Field: uint8(d.field)}
		if event.FieldByID(d.field).Kind != event.KindDigest {
			kd = t.dim(hb, d)
		}
		if event.FieldByID(d.field).Part == event.PartSubject {
			hc.Subject[hc.SubjectDims] = kd
			hc.SubjectDims++
		} else {
			hc.Object[hc.ObjectDims] = kd
			hc.ObjectDims++
		}
	}
}

func (t *tables) bitsWhere(hb *hookBits, ok func(i int) bool) kernelVec {
	var v kernelVec
	for i := range hb.bits {
		if ok(i) {
			v.W[i/64] |= 1 << (i % 64)
			v.Sum |= 1 << (i / 64)
		}
	}
	return v
}

// categories finds where one kind of clause ends and the next begins, among the
// bits from first to n.
func (t *tables) categories(hb *hookBits, hc *kernelHookConf, first, n uint32) {
	rules := t.prog.Rules[hb.hook]
	hc.AuditFrom, hc.AlertFrom, hc.MaybeFrom, hc.MaybeAllowFrom, hc.MaybeAlertFrom = n, n, n, n, n
	for i := first; i < n; i++ {
		b := &hb.bits[i]
		if b.rule < 0 {
			continue
		}
		r := &rules[b.rule]
		switch {
		case !r.Enforce || r.Verdict != event.VerdictDeny:
		case !b.clause.Maybe:
			hc.EnforceTo = i + 1
		case r.Undecided == ir.UndecidedDeny && r.Held():
			hc.HeldEnforceTo = i + 1
		case r.Undecided == ir.UndecidedDeny:
			hc.MaybeEnforceTo = i + 1
		}
	}
	hc.HeldTo, hc.HeldDenyTo = n, n
	for i := n; i > first; i-- {
		b := hb.bits[i-1]
		if b.rule < 0 {
			// No clause: it counts as what comes after it.
			continue
		}
		r := &rules[b.rule]
		at := i - 1
		blocks := r.Verdict == event.VerdictDeny && !r.Audit
		switch {
		case b.clause.Maybe && !blocks:
			hc.MaybeAlertFrom, hc.MaybeAllowFrom, hc.HeldTo, hc.HeldDenyTo, hc.MaybeFrom, hc.AlertFrom, hc.AuditFrom = at, at, at, at, at, at, at
		case b.clause.Maybe && r.Held():
			hc.MaybeFrom, hc.AlertFrom, hc.AuditFrom = at, at, at
			if r.Undecided != ir.UndecidedDeny {
				hc.HeldDenyTo = at
			}
		case b.clause.Maybe && r.Undecided != ir.UndecidedDeny:
			hc.MaybeAllowFrom, hc.HeldTo, hc.HeldDenyTo, hc.MaybeFrom, hc.AlertFrom, hc.AuditFrom = at, at, at, at, at, at
		case b.clause.Maybe:
			hc.HeldTo, hc.HeldDenyTo, hc.MaybeFrom, hc.AlertFrom, hc.AuditFrom = at, at, at, at, at
		case r.Verdict == event.VerdictAlert:
			hc.AlertFrom, hc.AuditFrom = at, at
		case r.Audit:
			hc.AuditFrom = at
		}
	}
}

// dims lists the dimensions of a hook.
func (t *tables) dims(hb *hookBits) []numberDim {
	out := append(slices.Clone(hb.budget.subject), hb.budget.object...)
	if len(hb.budget.ancestors) > 0 {
		out = append(out, t.ancestorDims()...)
	}
	return out
}

// ancestorDims splits the bits of tests on ancestors into dimensions of a few
// bits each.
func (t *tables) ancestorDims() []numberDim {
	var out []numberDim
	for from := 0; from < len(t.tests.ancestors); from += maxFlagBits {
		n := min(maxFlagBits, len(t.tests.ancestors)-from)
		out = append(out, numberDim{field: event.FieldAncestors, mask: (1<<n - 1) << from, bits: true})
	}
	return out
}

// dim makes the intervals of one dimension: wherever a condition may change
// its answer a new interval begins.
func (t *tables) dim(hb *hookBits, d numberDim) kernelDim {
	cuts := []uint64{0}
	combos := d.bits
	if combos {
		cuts = append(cuts, subsets(d.mask)...)
	}
	if d.other != event.FieldNone {
		cuts = append(cuts, 1)
	}
	for j := range hb.bits {
		for k := range hb.bits[j].clause.When {
			c := &hb.bits[j].clause.When[k]
			if combos || !d.answers(c) {
				continue
			}
			switch c.Op {
			case ir.OpLess:
				cuts = append(cuts, c.Nums[0])
			case ir.OpIn:
				for _, n := range c.Nums {
					cuts = append(cuts, n, n+1)
				}
			case ir.OpMaskEq:
				cuts = append(cuts, c.Nums[0], c.Nums[0]+1)
			case ir.OpMaskAny:
				cuts = append(cuts, c.Mask&-c.Mask) // the least that is not zero
			}
		}
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	kd := kernelDim{Mask: d.mask, Base: uint32(len(t.bounds)), Count: uint32(len(cuts)), Field: uint8(d.field), Other: uint8(d.other)}
	for _, from := range cuts {
		id := t.vecWhere(hb, func(i int) bool {
			b := &hb.bits[i]
			for k := range b.clause.When {
				c := &b.clause.When[k]
				if d.answers(c) && t.numberHolds(c, b.tests[k], d, from) == c.Negated {
					return false
				}
			}
			return true
		})
		t.bounds = append(t.bounds, kernelBound{From: from, Vec: id})
	}
	return kd
}

// answers reports whether this dimension is the one that decides a condition.
func (d numberDim) answers(c *ir.Cond) bool {
	if d.text || c.IsText() {
		return d.text && c.IsText() // numberHolds says for which bits
	}
	if c.Field != d.field {
		return false
	}
	if c.Field == event.FieldAncestors {
		return true // numberHolds says for which bits
	}
	if c.Op == ir.OpSame || d.other != event.FieldNone {
		return c.Op == ir.OpSame && c.Other == d.other
	}
	if c.Op == ir.OpMaskAny || c.Op == ir.OpMaskEq {
		return c.Mask == d.mask || d.bits && c.Mask&^d.mask == 0
	}
	return d.mask == ^uint64(0)
}

func (t *tables) numberHolds(c *ir.Cond, test int, d numberDim, v uint64) bool {
	if d.text {
		bit := t.hooks[event.HookExec-1].budget.texts.bit(c)
		cut := c.Field == event.FieldArgs && v&textArgsCut != 0 || c.Field == event.FieldEnv && v&textEnvCut != 0
		if bit&d.mask == 0 || v&bit == 0 && cut {
			return !c.Negated
		}
		return v&bit != 0
	}
	if c.Field == event.FieldAncestors {
		bit := uint64(1) << test
		if bit&d.mask == 0 {
			return !c.Negated // another dimension has this bit
		}
		return v&bit != 0
	}
	if c.Op == ir.OpSame {
		return v == 1
	}
	positive := *c
	positive.Negated = false
	var k ir.Key
	k.Num[c.Field] = v
	return positive.Holds(&k)
}

// subsets lists all values that v & mask can have.
func subsets(mask uint64) []uint64 {
	var out []uint64
	for s := mask; ; s = (s - 1) & mask {
		out = append(out, s)
		if s == 0 {
			return out
		}
	}
}

// keyGroups says which part of the decision key holds a field. Fields that are
// missing are not in the key: answers that read them are not cached.
var keyGroups = map[string]uint32{
	"hook":             0,
	"process.exe.path": keyExe, "process.exe.name": keyExe,
	"process.parent.exe.path": keyParent, "process.parent.exe.name": keyParent,
	"process.uid": keyIDs, "process.euid": keyIDs, "process.gid": keyIDs, "process.egid": keyIDs,
	"process.cgroup.id": keyCgroup, "process.cgroup.path": keyCgroup,
	"file.path": keyFile, "file.name": keyFile, "file.identities": keyFile, // names: see stale.go
	"file.fs.magic": keyFile, "file.fs.type": keyFile,
	"open.flags": keyOpen,
	"file.mode":  keyFile | keyMeta, "file.uid": keyFile | keyMeta, "file.gid": keyFile | keyMeta, "file.nlink": keyFile | keyMeta,
	"file.traits": keyFile | keyMeta, "file.dir.mode": keyFile | keyMeta, "file.dir.uid": keyFile | keyMeta,
}

// The parts of a decision key, as in wire.h.
const (
	keyExe    = 1
	keyParent = 2
	keyIDs    = 4
	keyCgroup = 8
	keyFile   = 16
	keyOpen   = 32
	keyMeta   = 64
	keyArgs   = 128
	keyEnv    = 256
	keyCwd    = 512
	keyScript = 1024
	keyGiven  = keyArgs | keyEnv | keyCwd | keyScript
	keyNone   = 0x80000000
)

// decisionKeys returns what the uncertain clauses read: their dropped part, and
// the conditions of their own. One verdict stands for all of a hook's held
// rules together, and one for all of its other uncertain rules.
func (t *tables) decisionKeys(hb *hookBits) (other, held uint32) {
	rules := t.prog.Rules[hb.hook]
	for i := range hb.bits {
		c := &hb.bits[i].clause
		if !c.Maybe || hb.bits[i].rule < 0 || isBlind(c) {
			continue // of an act without a digest no verdict is kept
		}
		if rules[hb.bits[i].rule].Held() {
			held |= keyOfClause(c, heldGroups)
		} else {
			other |= keyOfClause(c, nil)
		}
	}
	return other, held
}

// heldGroups are fields that only the gate's key holds: there a verdict is good
// for what the file was, and the gate looks anew each time. With what an exec is
// given it is good for that exec.
var heldGroups = map[string]uint32{"file.sha256": keyFile, "file.verity": keyFile, "args": keyArgs, "env": keyEnv, "cwd": keyCwd, "script": keyScript}

// keyOfClause: with keyNone if it reads what is not in the key.
func keyOfClause(c *ir.Clause, more map[string]uint32) uint32 {
	reads := slices.Clone(c.Reads)
	for k := range c.When {
		for _, f := range []event.FieldID{c.When[k].Field, c.When[k].Other} {
			if f != event.FieldNone {
				reads = append(reads, event.FieldByID(f).Path)
			}
		}
	}
	var key uint32
	for _, r := range reads {
		g, ok := keyGroups[r]
		if !ok {
			g, ok = more[r]
		}
		if !ok {
			g = keyNone
		}
		key |= g
	}
	return key
}

// cannotChange are the numbers of a subject that stay what they are until its
// next exec, whatever it does, or that a free pass is made of (see open.h).
var cannotChange = []event.FieldID{event.FieldAncestors, event.FieldCgroupID, event.FieldEUID}

// mayChange are the numbers that a process can get another value of without
// new credentials: its vectors are then made at each decision.
var mayChange = []event.FieldID{event.FieldMntNS, event.FieldPidNS, event.FieldTTY, event.FieldLoginUID}

// inCreds are those that it gets another value of only with new credentials. These
// may lie where the old ones did, so an address does not tell: but for the user ids,
// which are always compared, they are where a rule reads them.
var inCreds = []event.FieldID{event.FieldGID, event.FieldEGID, event.FieldCaps, event.FieldUserNS}

// passes reports whether a process that no rule on opens concerns stays so.
func (t *tables) passes() bool {
	hc := &t.conf[event.HookOpen-1]
	for _, d := range hc.Subject[:hc.SubjectDims] {
		if !slices.Contains(cannotChange, event.FieldID(d.Field)) || d.Other != 0 {
			return false
		}
	}
	return true
}

// liveCreds is LIVE_CREDS in wire.h.
const liveCreds = 16

// live returns the hooks of which a rule reads what may change at any time, as
// bits: their vectors are made anew at each decision. And liveCreds bits higher those
// of which one reads what is in credentials: their vectors are when that changes.
func (t *tables) live() uint32 {
	var hooks uint32
	for i := range t.hooks {
		for _, d := range t.conf[i].Subject[:t.conf[i].SubjectDims] {
			for _, f := range []event.FieldID{event.FieldID(d.Field), event.FieldID(d.Other)} {
				if slices.Contains(mayChange, f) {
					hooks |= 1 << i
				}
				if slices.Contains(inCreds, f) {
					hooks |= 1 << (i + liveCreds)
				}
			}
		}
	}
	return hooks
}

// rates returns the hooks of which a rule reads how often their act happens, as
// bits: only these are counted.
func (t *tables) rates() uint32 {
	var hooks uint32
	for h, field := range map[event.Hook]event.FieldID{event.HookExec: event.FieldExecRate, event.HookFork: event.FieldForkRate} {
		path := event.FieldByID(field).Path
		hb := &t.hooks[h-1]
		for i := range hb.bits {
			c := &hb.bits[i].clause
			if slices.Contains(c.Reads, path) || slices.Contains(c.Reads, "input") ||
				slices.ContainsFunc(c.When, func(w ir.Cond) bool { return w.Field == field || w.Other == field }) {
				hooks |= 1 << (h - 1)
			}
		}
	}
	return hooks
}

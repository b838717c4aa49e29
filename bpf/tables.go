package bpf

import (
	"slices"
	"strconv"
	"strings"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// tables is the kernel form of one program before it is bound to files: bit
// vectors by class of path, class of name and interval of number. Classes are
// made on demand, so that binding (and tests) can ask for any path.
type tables struct {
	prog   *ir.Program
	fitted map[event.Hook][]ir.Rule // the rules as the tables hold them
	tests  tests
	hooks  [kernelNumJudged]hookBits

	vecs    []kernelVec
	vecID   map[kernelVec]uint32
	classes []kernelClass
	classID map[string]uint32
	bounds  []kernelBound
	conf    [rowCommit + 1]kernelHookConf

	commitWords uint64 // words of the exec row that hold clauses decided at commit
	texts       []kernelTextState
	text        kernelTextConf

	digests   map[kernelDigestKey]uint32 // vectors of those that rules list
	basenames map[string]uint32
	suffixes  map[string]uint32
	usesNames bool
	weakened  []string // conditions that did not fit and were left to user space
}

const (
	kernelNumJudged = 3
	rowCommit       = kernelNumJudged // clauses that wait for arguments and environment
	classUnresolved = 0
	classOther      = 1
	classWhole      = 2
	classNoName     = 3
	classNoShell    = 4
	ancestorShell   = 1 << 62
	vecOnes         = 0
	maxClauses      = 4096
	vecWords        = maxClauses / 64
	noClause        = ^uint32(0)
)

// clauseBit says what one bit of a hook's vectors stands for.
type clauseBit struct {
	rule   int // index into prog.Rules[hook]; -1: none, the bit is always 0
	clause ir.Clause
	tests  []int // for each condition: the number of its test on paths or names, the bit of one on ancestors, -1 if it is none
}

// hookBits orders the clauses of one hook as the kernel expects them: certain
// denies that block (those that do it in audit mode too come first), that audit,
// alerts; then uncertain ones: those that the gate answers, then the others,
// fail-closed first in both, then those that never block. Before all of them,
// in words of their own, stand those that wait for arguments and environment.
type hookBits struct {
	hook   event.Hook
	late   int // so many bits wait; a multiple of 64
	bits   []clauseBit
	kill   []bool
	budget *dimBudget
}

// compile turns a program into tables. It cannot fail: what does not fit is
// left to user space and listed in weakened.
func compile(p *ir.Program) *tables {
	t := &tables{prog: p, fitted: map[event.Hook][]ir.Rule{}, vecID: map[kernelVec]uint32{}, classID: map[string]uint32{}}
	ones := kernelVec{Sum: ^uint64(0)}
	for i := range ones.W {
		ones.W[i] = ^uint64(0)
	}
	t.vec(ones)
	for i, h := range event.Judged {
		budget := newDimBudget(p.Rules[h])
		t.fitted[h] = t.fit(p.Rules[h], budget)
		t.hooks[i] = order(h, t.fitted[h])
		t.hooks[i].budget = budget
	}
	t.tests = collectTests(t.hooks[:], p.Identities)
	t.numbers()
	t.digestVecs()
	if t.readsShell() {
		t.tests.shells = p.Shells
	}
	t.classes = append(t.classes, kernelClass{}, kernelClass{}, kernelClass{Pad: 1}, kernelClass{}, kernelClass{})
	t.classes[classUnresolved] = t.unresolved()
	t.classes[classOther] = t.makeClass(truth{}, nil, false)
	t.classID[truth{}.key("p")] = classOther
	t.classes[classNoShell].Shell = t.shellRow(union(truth{t.tests.noShell}))
	t.nameClasses()
	for i := range t.hooks {
		hb := &t.hooks[i]
		if len(hb.bits) > 0 && !slices.ContainsFunc(hb.bits, clauseBit.holdsForOthers) {
			t.conf[i].OtherEmpty = 1
		}
	}
	return t
}

// readsShell reports whether a rule reads process.shell, be it in user space.
func (t *tables) readsShell() bool {
	path := event.FieldByID(event.FieldShell).Path
	for _, h := range event.Judged {
		for i := range t.prog.Rules[h] {
			if slices.ContainsFunc(t.prog.Rules[h][i].Clauses, func(c ir.Clause) bool {
				return slices.Contains(c.Reads, path) || slices.Contains(c.Reads, "input") ||
					slices.ContainsFunc(c.When, func(w ir.Cond) bool { return w.Field == event.FieldShell })
			}) {
				return true
			}
		}
	}
	return false
}

// holdsForOthers reports whether a clause can hold for a file that no rule names
// by path or identity.
func (b clauseBit) holdsForOthers() bool {
	if b.rule < 0 || !b.fieldHolds(event.FieldPath, truth{}) {
		return false
	}
	for i := range b.clause.When {
		if c := &b.clause.When[i]; c.Field == event.FieldIdentities && !c.Negated {
			return false
		}
	}
	return true
}

// order sorts the clauses of one hook into bits.
func order(h event.Hook, rules []ir.Rule) hookBits {
	hb := hookBits{hook: h}
	hb.add(rules, true)
	for len(hb.bits)%64 != 0 {
		hb.bits = append(hb.bits, clauseBit{rule: -1})
		hb.kill = append(hb.kill, false)
	}
	hb.late = len(hb.bits)
	hb.add(rules, false)
	return hb
}

// add appends the clauses that wait, or those that do not.
func (hb *hookBits) add(rules []ir.Rule, late bool) {
	add := func(want func(r *ir.Rule, c *ir.Clause) bool) {
		for i := range rules {
			for _, c := range rules[i].Clauses {
				if c.AtCommit() == late && want(&rules[i], &c) {
					hb.bits = append(hb.bits, clauseBit{rule: i, clause: c})
					hb.kill = append(hb.kill, rules[i].Kill)
				}
			}
		}
	}
	blocks := func(r *ir.Rule) bool { return r.Verdict == event.VerdictDeny && !r.Audit }
	held := func(r *ir.Rule) bool { return blocks(r) && r.Held() }
	closed := func(r *ir.Rule) bool { return blocks(r) && r.Undecided == ir.UndecidedDeny }
	add(func(r *ir.Rule, c *ir.Clause) bool { return !c.Maybe && blocks(r) && r.Enforce })
	add(func(r *ir.Rule, c *ir.Clause) bool { return !c.Maybe && blocks(r) && !r.Enforce })
	add(func(r *ir.Rule, c *ir.Clause) bool { return !c.Maybe && r.Verdict == event.VerdictDeny && r.Audit })
	add(func(r *ir.Rule, c *ir.Clause) bool { return !c.Maybe && r.Verdict == event.VerdictAlert })
	add(func(r *ir.Rule, c *ir.Clause) bool { return c.Maybe && held(r) && closed(r) && r.Enforce })
	add(func(r *ir.Rule, c *ir.Clause) bool { return c.Maybe && held(r) && closed(r) && !r.Enforce })
	add(func(r *ir.Rule, c *ir.Clause) bool { return c.Maybe && held(r) && !closed(r) })
	add(func(r *ir.Rule, c *ir.Clause) bool { return c.Maybe && !held(r) && closed(r) && r.Enforce })
	add(func(r *ir.Rule, c *ir.Clause) bool { return c.Maybe && !held(r) && closed(r) && !r.Enforce })
	add(func(r *ir.Rule, c *ir.Clause) bool { return c.Maybe && !held(r) && blocks(r) && !closed(r) })
	add(func(r *ir.Rule, c *ir.Clause) bool { return c.Maybe && !blocks(r) })
}

// fit weakens what the tables cannot hold: a clause keeps the conditions that
// fit and becomes uncertain.
func (t *tables) fit(rules []ir.Rule, dims *dimBudget) []ir.Rule {
	out := slices.Clone(rules)
	for i := range out {
		out[i].Clauses = slices.Clone(out[i].Clauses)
		for j := range out[i].Clauses {
			c := &out[i].Clauses[j]
			kept := make([]ir.Cond, 0, len(c.When))
			for _, cond := range c.When {
				cond = t.asMask(cond)
				if fits(&cond) && dims.take(&cond) {
					kept = append(kept, cond)
					continue
				}
				f := event.FieldByID(cond.Field)
				c.Maybe = true
				c.Reads = append(slices.Clone(c.Reads), f.Path)
				t.weakened = append(t.weakened, out[i].Ref.ID+": "+f.Path)
			}
			c.When = kept
			if c.Maybe && out[i].Held() {
				*c = c.WithoutGiven() // the gate answers before they can be tested
			}
		}
		out[i].Clauses = withoutDigests(out[i].Clauses)
	}
	t.capClauses(out)
	return out
}

// asMask turns a test of names of files into one of a kernel number.
func (t *tables) asMask(c ir.Cond) ir.Cond {
	if c.Field != event.FieldIdentities || c.Op != ir.OpIn {
		return c
	}
	return ir.Cond{Field: c.Field, Op: ir.OpMaskAny, Mask: t.identMask(c.Strs), Negated: c.Negated}
}

// identMask returns the bits of identities; unknown ones are left out.
func (t *tables) identMask(names []string) uint64 {
	var mask uint64
	for bit, id := range t.prog.Identities[:min(len(t.prog.Identities), ir.MaxIdentities)] {
		if slices.Contains(names, id.Name) {
			mask |= 1 << bit
		}
	}
	return mask
}

// identNames is the inverse of identMask.
func (t *tables) identNames(mask uint64) []string {
	var out []string
	for bit, id := range t.prog.Identities {
		if mask&(1<<bit) != 0 {
			out = append(out, id.Name)
		}
	}
	return out
}

// capClauses folds rules together when there are more clauses than bits: the
// clauses of the last rules become one uncertain clause each.
func (t *tables) capClauses(rules []ir.Rule) {
	n, pad := 0, 0
	for i := range rules {
		n += len(rules[i].Clauses)
		if slices.ContainsFunc(rules[i].Clauses, func(c ir.Clause) bool { return c.AtCommit() }) {
			pad = 63 // those that wait have words of their own
		}
	}
	n += pad
	for i := len(rules) - 1; i >= 0 && n > maxClauses; i-- {
		if k := len(rules[i].Clauses); k > 1 {
			rules[i].Clauses = []ir.Clause{{Maybe: true, Reads: []string{"input"}}}
			n -= k - 1
			t.weakened = append(t.weakened, rules[i].Ref.ID+": too many clauses")
		}
	}
}

func fits(c *ir.Cond) bool {
	switch event.FieldByID(c.Field).Kind {
	case event.KindPath, event.KindPaths:
		return (c.Op == ir.OpIn || c.Op == ir.OpPrefix && allDirs(c.Strs)) && allDirs(c.Under)
	case event.KindString:
		switch c.Op {
		case ir.OpIn:
			return !slices.ContainsFunc(c.Strs, func(s string) bool { return len(s) >= 64 })
		case ir.OpSuffix:
			return !slices.ContainsFunc(c.Strs, func(s string) bool { return len(s) > 24 || s == "" })
		}
		return false
	case event.KindNames:
		return c.Op == ir.OpMaskAny && c.Mask != 0
	case event.KindDigest:
		return c.Op == ir.OpIn
	case event.KindList, event.KindMap:
		return true // the budget knows
	case event.KindInt, event.KindFlags, event.KindEnum:
		return c.Op != ir.OpPrefix && c.Op != ir.OpSuffix
	}
	return false
}

func allDirs(ss []string) bool {
	return !slices.ContainsFunc(ss, func(s string) bool { return !strings.HasSuffix(s, "/") || !strings.HasPrefix(s, "/") })
}

// vec returns the number of a vector, the same for equal ones.
func (t *tables) vec(v kernelVec) uint32 {
	if id, ok := t.vecID[v]; ok {
		return id
	}
	id := uint32(len(t.vecs))
	t.vecs = append(t.vecs, v)
	t.vecID[v] = id
	return id
}

// vecWhere returns the vector of those clauses of a hook that the function
// accepts, as a number.
func (t *tables) vecWhere(hb *hookBits, ok func(i int) bool) uint32 {
	var v kernelVec
	n := 0
	for i := range hb.bits {
		if ok(i) {
			v.W[i/64] |= 1 << (i % 64)
			v.Sum |= 1 << (i / 64)
			n++
		}
	}
	if n == len(hb.bits) {
		return vecOnes
	}
	return t.vec(v)
}

// ruleOf returns the rule that a clause bit belongs to.
func (t *tables) ruleOf(h event.Hook, bit uint32) *ir.Rule {
	h = h.Package()
	hb := &t.hooks[h-1]
	if int(bit) >= len(hb.bits) || hb.bits[bit].rule < 0 {
		return nil
	}
	return &t.prog.Rules[h][hb.bits[bit].rule]
}

// truth is the set of path tests that a path meets, sorted.
type truth struct{ met []int }

func (tr truth) key(kind string) string {
	var b strings.Builder
	b.WriteString(kind)
	for _, i := range tr.met {
		b.WriteByte(' ')
		b.WriteString(strconv.Itoa(i))
	}
	return b.String()
}

func (tr truth) has(i int) bool { _, ok := slices.BinarySearch(tr.met, i); return ok }

func union(a ...truth) truth {
	var all []int
	for _, t := range a {
		all = append(all, t.met...)
	}
	slices.Sort(all)
	return truth{slices.Compact(all)}
}

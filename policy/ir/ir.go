// Package ir is the form of a policy that a kernel can run: for each hook a
// list of rules, each a disjunction of clauses, each a conjunction of
// conditions on fields that the kernel holds. Program.Decide is the definition
// of what the kernel tables must answer.
package ir

import (
	"slices"
	"strings"

	"example.com/bailiff/internal/event"
)

// Program is the lowered form of one bundle revision. It is immutable.
type Program struct {
	Revision string
	// Env are the environment variables that rules name, sorted: what must be in
	// the record of an exec.
	Env []string
	// Rules of a hook stand in the order in which they win: deny rules that
	// block in every mode, that block in enforce mode, that only audit, then
	// alert rules. The key is a hook of event.Judged.
	Rules map[event.Hook][]Rule
	// Identities are the files that the policy gives names to, sorted by name.
	Identities []Identity
	// Shells are the paths of what the policy calls shells, sorted.
	Shells []string
}

// Identity is a name for a file, which it keeps wherever it is moved or linked.
type Identity struct {
	Name  string
	Paths []string // where the file is found when the rules are installed, sorted
}

// MaxIdentities bounds the names: each is a bit of a kernel number.
const MaxIdentities = 64

// Undecided is what happens while a deferred rule has no verdict.
type Undecided uint8

const (
	UndecidedAllow Undecided = iota // the act passes and is judged afterwards (fail open, recorded)
	UndecidedDeny                   // the act is refused (fail closed)
)

// Rule is one Rego rule for one hook.
type Rule struct {
	Ref       event.RuleRef
	Verdict   event.Verdict // deny or alert
	Audit     bool          // deny that never blocks (annotation mode: audit)
	Enforce   bool          // deny that blocks in audit mode, too (the operator says so); not with Audit
	Kill      bool          // the offender is killed besides being refused
	Undecided Undecided
	// Hold: an exec waits at the gate until user space has answered, and
	// Undecided is what happens when it did not in time.
	Hold bool
	// Clauses: the rule holds if one of them does. None: it never holds.
	Clauses []Clause
}

// Held reports whether the gate answers for the uncertain clauses of the rule:
// only what may block is worth waiting for.
func (r *Rule) Held() bool { return r.Hold && r.Verdict == event.VerdictDeny && !r.Audit }

// Clause holds when all of its conditions hold. A clause flagged Maybe stands
// for a stronger one, of which the kernel cannot test some part: when it holds
// the rule is undecided, when it does not hold neither does the original.
type Clause struct {
	When  []Cond
	Maybe bool
	// Reads lists the input fields of the part that was dropped (paths as in
	// event.Fields, "input" for all of them, "time" for anything that is not
	// a function of the document). Only Maybe clauses have it.
	Reads []string
}

// Op is the test that a condition makes.
type Op uint8

// Path fields may have several names for one object (hard links that the
// policy names, directory aliases): a test holds if it holds for one of them.
const (
	OpIn       Op = iota // value is one of Strs (strings, paths) or Nums (numbers)
	OpPrefix             // a path lies below one of Strs, directories that end in "/"
	OpSuffix             // a name ends in one of Strs
	OpLess               // number < Nums[0]
	OpMaskEq             // number & Mask == Nums[0]
	OpMaskAny            // number & Mask != 0
	OpSame               // value == value of field Other
	OpContains           // a text holds one of Strs somewhere
	OpRegex              // a text holds a match of one of Strs, regular expressions of Go
)

// Cond is one test of one field. For FieldAncestors, OpIn and OpPrefix hold if
// they hold for any of the ancestors, or if Outside is set, do not hold for one
// of them: negated, that all of them meet it; for FieldIdentities, OpIn holds if the
// file has one of these names; for FieldArgs, tests of text hold if they
// do for any argument, or for the one at At, and tests of numbers are about the
// number of arguments. A test of FieldEnv is about the variable Var, and does
// not hold if there is none of that name.
type Cond struct {
	Field   event.FieldID
	Op      Op
	Strs    []string // sorted, without duplicates
	Nums    []uint64 // sorted, without duplicates
	Mask    uint64
	Other   event.FieldID // OpSame
	At      int           // FieldArgs: index + 1; 0 for any
	Var     string        // FieldEnv
	Under   []string      // Outside: directories besides the paths of an OpIn, sorted, without duplicates
	Outside bool          // FieldAncestors: some ancestor meets the test under none of its names
	Negated bool
}

// Key is what a decision reads: one value for each kernel field.
type Key struct {
	// Str holds all names of a path field, the one value of a string field,
	// and the flattened names of all ancestors.
	Str [event.NumFields][]string
	Num [event.NumFields]uint64 // numbers and flag masks
	// Above are the names of each ancestor. nil: each has one, in Str.
	Above [][]string
	// Unresolved says that the object's path is not known whole. Conditions
	// on FieldPath then count as met whichever way they are put: fail closed.
	Unresolved bool
	// Env are environment variables by name. Whoever adds to it makes a copy.
	Env map[string]string
	// ArgsCut and EnvCut say that there may be more than is known. A test that
	// does not hold for what is known then counts as met whichever way it is put.
	ArgsCut, EnvCut bool
	// NoDigest says that the digest of the file is not known. A test that does not
	// hold for "" then counts as met whichever way it is put.
	NoDigest bool
	// NoVerity says that nobody knows whether the file has an fs-verity digest, and
	// which: Str has no value then. Each test of it counts as met whichever way it
	// is put: that the file has none ("") is something to know.
	NoVerity bool
}

// Result is the answer for one key.
type Result struct {
	Verdict   event.Verdict // what is certain: deny, alert or allow
	Rule      int           // index of the deciding rule, -1 if none
	Undecided []int         // rules that may hold beyond that
}

// Decide is the definition that kernel tables must agree with. What is known
// before the new image is in place is decided first: a clause that has to wait
// wins only over rules of a lesser kind.
func (p *Program) Decide(h event.Hook, k *Key) Result {
	r := Result{Verdict: event.VerdictAllow, Rule: -1}
	h = h.Package()
	rules := p.Rules[h]
	late := -1
	for i := range rules {
		certain, maybe := rules[i].Holds(k)
		switch {
		case certain && rules[i].early(k):
			if r.Rule < 0 {
				r.Rule = i
			}
		case certain:
			if late < 0 {
				late = i
			}
		case maybe:
			r.Undecided = append(r.Undecided, i)
		}
	}
	if late >= 0 && (r.Rule < 0 || rules[late].Wins(&rules[r.Rule])) {
		r.Rule = late
	}
	if r.Rule >= 0 {
		r.Verdict = rules[r.Rule].Verdict
	}
	return r
}

// Judges reports whether the rule says anything about acts of a hook: unless none
// of its clauses can hold there.
func (r *Rule) Judges(h event.Hook) bool {
	var k Key
	k.Num[event.FieldHook] = uint64(h)
	return len(r.Clauses) == 0 || slices.ContainsFunc(r.Clauses, func(c Clause) bool {
		return !slices.ContainsFunc(c.When, func(w Cond) bool { return w.Field == event.FieldHook && !w.Holds(&k) })
	})
}

// early: a clause holds for certain that does not wait for the new image.
func (r *Rule) early(k *Key) bool {
	return slices.ContainsFunc(r.Clauses, func(c Clause) bool { return !c.Maybe && !c.AtCommit() && c.Holds(k) && !c.leans(k) })
}

// Holds reports whether a clause holds that stands for itself, and whether one
// holds that only stands for a stronger one.
func (r *Rule) Holds(k *Key) (certain, maybe bool) {
	for _, c := range r.Clauses {
		if c.Holds(k) {
			open := c.Maybe || c.leans(k)
			certain, maybe = certain || !open, maybe || open
		}
	}
	return certain, maybe
}

// Holds reports whether every condition holds.
func (c *Clause) Holds(k *Key) bool {
	for i := range c.When {
		if !c.When[i].Holds(k) {
			return false
		}
	}
	return true
}

// Holds reports whether the test holds, negation included.
func (c *Cond) Holds(k *Key) bool {
	if k.Unresolved && (c.Field == event.FieldPath || c.Field == event.FieldName) {
		return true
	}
	met := c.test(k)
	return met != c.Negated || !met && c.cut(k)
}

// cut: more may be there than the test has seen.
func (c *Cond) cut(k *Key) bool {
	if k.lacks(c.Field) {
		return true
	}
	return c.IsText() && (c.Field == event.FieldArgs && k.ArgsCut || c.Field == event.FieldEnv && k.EnvCut)
}

// lacks: the field is a digest that is not known.
func (k *Key) lacks(f event.FieldID) bool {
	return f == event.FieldSHA256 && k.NoDigest || f == event.FieldVerity && k.NoVerity
}

// IsText reports whether the test is one of the text of arguments or environment.
func (c *Cond) IsText() bool {
	return c.Field == event.FieldEnv || c.Field == event.FieldArgs && len(c.Nums) == 0
}

// WithoutGiven leaves the tests of what the exec is given to user space: of a rule that
// is held the answer is there before they can be made.
func (c *Clause) WithoutGiven() Clause {
	out := Clause{Maybe: true, Reads: slices.Clone(c.Reads)}
	for _, w := range c.When {
		if f := event.FieldByID(w.Field); f.Part == event.PartCommit {
			out.Reads = append(out.Reads, f.Path)
		} else {
			out.When = append(out.When, w)
		}
	}
	slices.Sort(out.Reads)
	out.Reads = slices.Compact(out.Reads)
	return out
}

// ReadsGiven reports what user space needs of that to answer for an exec that is held for
// the rule.
func (r *Rule) ReadsGiven() (g event.GivenParts) {
	if !r.Held() {
		return g
	}
	for i := range r.Clauses {
		// Also of one that is certain: it may find no room in the kernel.
		reads := r.Clauses[i].WithoutGiven().Reads
		has := func(f string) bool { return slices.Contains(reads, f) }
		g = g.Or(event.GivenParts{Args: has("args"), Env: has("env"), Cwd: has("cwd"), Script: has("script")})
	}
	return g
}

// AtCommit reports whether the clause has to wait for what is known only when
// the new image is in place: its arguments and environment.
func (c *Clause) AtCommit() bool {
	return slices.ContainsFunc(c.When, func(w Cond) bool { return event.FieldByID(w.Field).Part == event.PartCommit })
}

// Blind reports whether nobody can say, for want of a digest of the file, if the
// rule holds: it may, and reads that digest.
func (r *Rule) Blind(k *Key) bool {
	if !k.NoDigest && !k.NoVerity {
		return false
	}
	if certain, maybe := r.Holds(k); certain || !maybe {
		return false
	}
	return slices.ContainsFunc(r.Clauses, func(c Clause) bool {
		return slices.ContainsFunc(event.Digests, func(f event.FieldID) bool { return k.lacks(f) && c.RestsOn(f) }) && c.Holds(k)
	})
}

// RestsOn reports whether the clause rests on a field: by a condition, or in what
// was dropped from it.
func (c *Clause) RestsOn(f event.FieldID) bool {
	return slices.Contains(c.Reads, event.FieldByID(f).Path) ||
		slices.ContainsFunc(c.When, func(w Cond) bool { return w.Field == f })
}

// RestsOn reports whether a clause of the rule does.
func (r *Rule) RestsOn(f event.FieldID) bool {
	return slices.ContainsFunc(r.Clauses, func(c Clause) bool { return c.RestsOn(f) })
}

// leans: the clause holds only because something was cut.
func (c *Clause) leans(k *Key) bool {
	return slices.ContainsFunc(c.When, func(w Cond) bool { return w.cut(k) && !w.test(k) })
}

func (c *Cond) test(k *Key) bool {
	if c.Outside {
		return c.outside(k)
	}
	n := k.Num[c.Field]
	switch c.Op {
	case OpLess:
		return n < c.Nums[0]
	case OpMaskEq:
		return n&c.Mask == c.Nums[0]
	case OpMaskAny:
		return n&c.Mask != 0
	case OpIn:
		if len(c.Nums) > 0 {
			_, ok := slices.BinarySearch(c.Nums, n)
			return ok
		}
		return anyName(c.texts(k), func(s string) bool { _, ok := slices.BinarySearch(c.Strs, s); return ok })
	case OpPrefix:
		return c.anyOf(k, strings.HasPrefix)
	case OpSuffix:
		return c.anyOf(k, strings.HasSuffix)
	case OpContains:
		return c.anyOf(k, strings.Contains)
	case OpRegex:
		return c.anyOf(k, matches)
	case OpSame:
		if len(k.Str[c.Field]) > 0 || len(k.Str[c.Other]) > 0 {
			return anyName(k.Str[c.Field], func(s string) bool { return slices.Contains(k.Str[c.Other], s) })
		}
		return n == k.Num[c.Other]
	}
	return false
}

// outside: there is an ancestor that has no name which meets the test.
func (c *Cond) outside(k *Key) bool {
	if k.Above == nil {
		return anyName(k.Str[c.Field], func(s string) bool { return !c.passes(s) })
	}
	return slices.ContainsFunc(k.Above, func(names []string) bool { return !anyName(names, c.passes) })
}

// passes: a path is one of those that Outside is about.
func (c *Cond) passes(s string) bool {
	dirs := c.Under
	if c.Op == OpPrefix {
		dirs = c.Strs
	} else if _, ok := slices.BinarySearch(c.Strs, s); ok {
		return true
	}
	return anyName(dirs, func(dir string) bool { return strings.HasPrefix(s, dir) })
}

// texts are the values that a test of text is about.
func (c *Cond) texts(k *Key) []string {
	switch l := k.Str[c.Field]; {
	case c.Field == event.FieldEnv:
		if v, ok := k.Env[c.Var]; ok {
			return []string{v}
		}
		return nil
	case c.Field == event.FieldShell && len(l) == 0:
		return []string{""} // no shell
	case c.At == 0:
		return l
	case c.At <= len(l):
		return l[c.At-1 : c.At]
	}
	return nil
}

func (c *Cond) anyOf(k *Key, test func(s, part string) bool) bool {
	return anyName(c.texts(k), func(s string) bool {
		return slices.ContainsFunc(c.Strs, func(p string) bool { return test(s, p) })
	})
}

func anyName(names []string, f func(string) bool) bool { return slices.ContainsFunc(names, f) }

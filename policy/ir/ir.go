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
	// Rules of a hook stand in the order in which they win: deny rules that
	// block in every mode, that block in enforce mode, that only audit, then
	// alert rules.
	Rules map[event.Hook][]Rule
}

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
	OpIn      Op = iota // value is one of Strs (strings, paths) or Nums (numbers)
	OpPrefix            // a path lies below one of Strs, directories that end in "/"
	OpSuffix            // a name ends in one of Strs
	OpLess              // number < Nums[0]
	OpMaskEq            // number & Mask == Nums[0]
	OpMaskAny           // number & Mask != 0
	OpSame              // value == value of field Other
)

// Cond is one test of one field. For FieldAncestors, OpIn and OpPrefix hold if
// they hold for any of the ancestors.
type Cond struct {
	Field   event.FieldID
	Op      Op
	Strs    []string // sorted, without duplicates
	Nums    []uint64 // sorted, without duplicates
	Mask    uint64
	Other   event.FieldID // OpSame
	Negated bool
}

// Key is what a decision reads: one value for each kernel field.
type Key struct {
	// Str holds all names of a path field, the one value of a string field,
	// and the flattened names of all ancestors.
	Str [event.NumFields][]string
	Num [event.NumFields]uint64 // numbers and flag masks
	// Unresolved says that the object's path is not known whole. Conditions
	// on FieldPath then count as met whichever way they are put: fail closed.
	Unresolved bool
}

// Result is the answer for one key.
type Result struct {
	Verdict   event.Verdict // what is certain: deny, alert or allow
	Rule      int           // index of the deciding rule, -1 if none
	Undecided []int         // rules that may hold beyond that
}

// Decide is the definition that kernel tables must agree with.
func (p *Program) Decide(h event.Hook, k *Key) Result {
	r := Result{Verdict: event.VerdictAllow, Rule: -1}
	for i := range p.Rules[h] {
		rule := &p.Rules[h][i]
		certain, maybe := rule.Holds(k)
		switch {
		case certain && r.Rule < 0:
			r.Rule, r.Verdict = i, rule.Verdict
		case maybe && !certain:
			r.Undecided = append(r.Undecided, i)
		}
	}
	return r
}

// Holds reports whether a clause holds that stands for itself, and whether one
// holds that only stands for a stronger one.
func (r *Rule) Holds(k *Key) (certain, maybe bool) {
	for _, c := range r.Clauses {
		if c.Holds(k) {
			certain, maybe = certain || !c.Maybe, maybe || c.Maybe
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
	return c.test(k) != c.Negated
}

func (c *Cond) test(k *Key) bool {
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
		return anyName(k.Str[c.Field], func(s string) bool { _, ok := slices.BinarySearch(c.Strs, s); return ok })
	case OpPrefix:
		return anyName(k.Str[c.Field], func(s string) bool {
			return slices.ContainsFunc(c.Strs, func(p string) bool { return strings.HasPrefix(s, p) })
		})
	case OpSuffix:
		return anyName(k.Str[c.Field], func(s string) bool {
			return slices.ContainsFunc(c.Strs, func(p string) bool { return strings.HasSuffix(s, p) })
		})
	case OpSame:
		if len(k.Str[c.Field]) > 0 || len(k.Str[c.Other]) > 0 {
			return anyName(k.Str[c.Field], func(s string) bool { return slices.Contains(k.Str[c.Other], s) })
		}
		return n == k.Num[c.Other]
	}
	return false
}

func anyName(names []string, f func(string) bool) bool { return slices.ContainsFunc(names, f) }

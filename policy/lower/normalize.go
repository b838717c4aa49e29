package lower

import (
	"slices"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// clauses turns a formula into a disjunction of clauses, of at most limit. What
// does not fit is over-approximated: a factor that would multiply the clauses
// beyond the limit becomes unknown, and so Maybe.
func clauses(f formula, limit int) []ir.Clause {
	n := normalizer{limit: limit}
	return n.dnf(f, false)
}

type normalizer struct{ limit int }

// dnf returns the disjunctive form of f, or of its negation.
func (n *normalizer) dnf(f formula, negated bool) []ir.Clause {
	switch f := f.(type) {
	case constant:
		if bool(f) == negated {
			return nil
		}
		return []ir.Clause{{}}
	case not:
		return n.dnf(f.f, !negated)
	case and:
		if negated {
			return n.sum(f, true)
		}
		return n.product(f, false)
	case or:
		if negated {
			return n.product(f, true)
		}
		return n.sum(f, false)
	case *unknown:
		return []ir.Clause{{Maybe: true, Reads: f.fields}}
	case *atom:
		c := f.Cond
		c.Negated = negated
		return []ir.Clause{{When: []ir.Cond{c}}}
	}
	return []ir.Clause{{Maybe: true, Reads: []string{"input"}}}
}

func (n *normalizer) sum(fs []formula, negated bool) []ir.Clause {
	var out []ir.Clause
	for _, f := range fs {
		out = append(out, n.dnf(f, negated)...)
		if len(out) > n.limit {
			out = tidy(out)
		}
	}
	if out = tidy(out); len(out) > n.limit {
		return n.weaken(out)
	}
	return out
}

// weaken keeps of too many clauses what all of them need: one Maybe clause.
func (n *normalizer) weaken(cs []ir.Clause) []ir.Clause {
	w := ir.Clause{Maybe: true}
	for _, c := range cs[0].When {
		inAll := !slices.ContainsFunc(cs[1:], func(o ir.Clause) bool {
			return !slices.ContainsFunc(o.When, func(x ir.Cond) bool { return same(&x, &c) })
		})
		if inAll {
			w.When = append(w.When, c)
		}
	}
	for _, c := range cs {
		w.Reads = append(w.Reads, readsOf(&c)...)
	}
	w.Reads = sorted(w.Reads)
	return []ir.Clause{w}
}

func (n *normalizer) product(fs []formula, negated bool) []ir.Clause {
	out := []ir.Clause{{}}
	for _, f := range fs {
		factor := n.dnf(f, negated)
		if len(out)*len(factor) > 4*n.limit {
			factor = n.weaken(factor)
		}
		var next []ir.Clause
		for _, a := range out {
			for _, b := range factor {
				if c, ok := meet(a, b); ok {
					next = append(next, c)
				}
			}
		}
		out = tidy(next)
		if len(out) > n.limit {
			out = n.weaken(out)
		}
		if len(out) == 0 {
			return nil
		}
	}
	return out
}

// meet joins two clauses; false if they exclude each other.
func meet(a, b ir.Clause) (ir.Clause, bool) {
	c := ir.Clause{When: slices.Clone(a.When), Maybe: a.Maybe || b.Maybe}
	if c.Maybe {
		c.Reads = sorted(slices.Concat(a.Reads, b.Reads))
	}
	for _, x := range b.When {
		if !slices.ContainsFunc(c.When, func(y ir.Cond) bool { return same(&x, &y) }) && !neither(&c, x) {
			c.When = append(c.When, x)
		}
	}
	ok := narrow(&c)
	return c, ok
}

// neither joins "not in A" and "not in B" to "not in A or B".
func neither(c *ir.Clause, x ir.Cond) bool {
	if !x.Negated {
		return false
	}
	for i := range c.When {
		y := c.When[i]
		if !alike(&x, &y) || !y.Negated || !widen(&y, &x) {
			continue
		}
		c.When[i] = y
		return true
	}
	return false
}

// alike: the same kind of test of the same thing.
func alike(x, y *ir.Cond) bool {
	return x.Field == y.Field && x.Op == y.Op && x.At == y.At && x.Var == y.Var
}

// widen adds the values of y to those of x, for tests that hold for any of them.
func widen(x, y *ir.Cond) bool {
	if x.Outside || y.Outside {
		return false // an element outside of both is another than one outside of each
	}
	switch x.Op {
	case ir.OpIn, ir.OpPrefix, ir.OpSuffix, ir.OpContains, ir.OpRegex:
		if (len(x.Nums) == 0) != (len(y.Nums) == 0) {
			return false
		}
		x.Strs = sorted(slices.Concat(x.Strs, y.Strs))
		x.Nums = sorted(slices.Concat(x.Nums, y.Nums))
	case ir.OpMaskAny:
		x.Mask |= y.Mask
	default:
		return false
	}
	return true
}

// narrow uses one condition to shorten the set of another on the same field,
// when the field has one value at a time. false: nothing is left.
func narrow(c *ir.Clause) bool {
	for i := range c.When {
		x := &c.When[i]
		if x.Op != ir.OpIn || x.Negated || x.Field == event.FieldAncestors || x.Field == event.FieldArgs || x.Field == event.FieldEnv {
			continue
		}
		for j := 0; j < len(c.When); j++ {
			y := &c.When[j]
			if j == i || y.Field != x.Field || y.Op == ir.OpSame || y.Negated && len(x.Nums) == 0 {
				continue
			}
			n := *x
			n.Strs = slices.DeleteFunc(slices.Clone(x.Strs), func(s string) bool {
				k := new(ir.Key)
				k.Str[x.Field] = []string{s}
				return !y.Holds(k)
			})
			n.Nums = slices.DeleteFunc(slices.Clone(x.Nums), func(v uint64) bool {
				k := new(ir.Key)
				k.Num[x.Field] = v
				return !y.Holds(k)
			})
			if len(n.Strs)+len(n.Nums) == 0 {
				return false
			}
			c.When[i] = n
			c.When = slices.Delete(c.When, j, j+1)
			return narrow(c)
		}
	}
	return !contradiction(c)
}

// contradiction: two conditions that are each other's negation, or number
// bounds that leave nothing.
func contradiction(c *ir.Clause) bool {
	for i := range c.When {
		for j := range c.When[:i] {
			x, y := &c.When[i], &c.When[j]
			if x.Field != y.Field || x.Negated == y.Negated {
				continue
			}
			flipped := *x
			flipped.Negated = y.Negated
			if same(&flipped, y) {
				return true
			}
			if x.Op == ir.OpLess && y.Op == ir.OpLess {
				upper, lower := x, y
				if x.Negated {
					upper, lower = y, x
				}
				if lower.Nums[0] >= upper.Nums[0] {
					return true
				}
			}
		}
	}
	return false
}

func same(a, b *ir.Cond) bool {
	return alike(a, b) && a.Negated == b.Negated && a.Mask == b.Mask && a.Other == b.Other &&
		slices.Equal(a.Nums, b.Nums) && slices.Equal(a.Strs, b.Strs) && a.Outside == b.Outside && slices.Equal(a.Under, b.Under)
}

// tidy drops clauses that others cover and merges those that differ in one set.
func tidy(cs []ir.Clause) []ir.Clause {
	for {
		n := len(cs)
		if cs = tidyOnce(cs); len(cs) == n { // a merge may make another possible
			return cs
		}
	}
}

func tidyOnce(cs []ir.Clause) []ir.Clause {
	for i := 0; i < len(cs); i++ {
		for j := i + 1; j < len(cs); j++ {
			switch {
			case covers(&cs[i], &cs[j]):
				cs = slices.Delete(cs, j, j+1)
				j--
			case covers(&cs[j], &cs[i]):
				cs[i] = cs[j]
				cs = slices.Delete(cs, j, j+1)
				j = i
			default:
				if m, ok := merge(&cs[i], &cs[j]); ok {
					cs[i] = m
					cs = slices.Delete(cs, j, j+1)
					j = i
				}
			}
		}
	}
	return cs
}

// covers: whenever b says something, a says at least as much.
func covers(a, b *ir.Clause) bool {
	if a.Maybe && !b.Maybe || len(a.When) > len(b.When) {
		return false
	}
	for i := range a.When {
		if !slices.ContainsFunc(b.When, func(y ir.Cond) bool { return same(&a.When[i], &y) }) {
			return false
		}
	}
	if a.Maybe { // the union of what is read must stay known
		a.Reads = sorted(slices.Concat(a.Reads, b.Reads))
	}
	return true
}

// merge joins two clauses that are alike but for the values of one test that
// holds for any of its values.
func merge(a, b *ir.Clause) (ir.Clause, bool) {
	if a.Maybe != b.Maybe || len(a.When) != len(b.When) {
		return ir.Clause{}, false
	}
	diff := -1
	var other ir.Cond
	for i := range a.When {
		x := &a.When[i]
		if slices.ContainsFunc(b.When, func(y ir.Cond) bool { return same(x, &y) }) {
			continue
		}
		if diff >= 0 {
			return ir.Clause{}, false
		}
		diff = i
	}
	if diff < 0 {
		return ir.Clause{}, false
	}
	for _, y := range b.When {
		if !slices.ContainsFunc(a.When, func(x ir.Cond) bool { return same(&x, &y) }) {
			other = y
		}
	}
	x := a.When[diff]
	if !alike(&x, &other) || x.Negated || other.Negated {
		return ir.Clause{}, false
	}
	if !widen(&x, &other) {
		return ir.Clause{}, false
	}
	m := ir.Clause{When: slices.Clone(a.When), Maybe: a.Maybe}
	m.When[diff] = x
	if m.Maybe {
		m.Reads = sorted(slices.Concat(a.Reads, b.Reads))
	}
	return m, true
}

func sorted[T interface{ ~string | ~uint64 }](l []T) []T {
	if len(l) == 0 {
		return nil
	}
	slices.Sort(l)
	return slices.Compact(l)
}

// readsOf lists what a clause reads as a whole.
func readsOf(c *ir.Clause) []string {
	out := slices.Clone(c.Reads)
	for i := range c.When {
		out = append(out, event.FieldByID(c.When[i].Field).Path)
		if c.When[i].Op == ir.OpSame {
			out = append(out, event.FieldByID(c.When[i].Other).Path)
		}
	}
	return out
}

package policy

import (
	"slices"
	"strings"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// ruleIndex finds the rules of a hook that may hold for an act without a look at
// each: by one condition that all clauses of a rule need. What has none is tried
// every time.
type ruleIndex struct {
	path, name, dir map[string][]int
	uid             map[uint64][]int
	rest            []int
}

func indexRules(rules []ir.Rule) *ruleIndex {
	x := &ruleIndex{path: map[string][]int{}, name: map[string][]int{}, dir: map[string][]int{}, uid: map[uint64][]int{}}
	for i := range rules {
		switch c := rules[i].Clauses; {
		case len(c) == 0:
		case needed(c, event.FieldPath, ir.OpIn):
			addRule(x.path, i, c, event.FieldPath, ir.OpIn, strs)
		case needed(c, event.FieldName, ir.OpIn):
			addRule(x.name, i, c, event.FieldName, ir.OpIn, strs)
		case needed(c, event.FieldPath, ir.OpPrefix):
			addRule(x.dir, i, c, event.FieldPath, ir.OpPrefix, strs)
		case needed(c, event.FieldUID, ir.OpIn):
			addRule(x.uid, i, c, event.FieldUID, ir.OpIn, func(c *ir.Cond) []uint64 { return c.Nums })
		default:
			x.rest = append(x.rest, i)
		}
	}
	return x
}

func strs(c *ir.Cond) []string { return c.Strs }

// needed reports whether every clause has such a condition, with values.
func needed(clauses []ir.Clause, f event.FieldID, op ir.Op) bool {
	return !slices.ContainsFunc(clauses, func(c ir.Clause) bool { return condOf(&c, f, op) == nil })
}

func condOf(c *ir.Clause, f event.FieldID, op ir.Op) *ir.Cond {
	for i := range c.When {
		w := &c.When[i]
		ends := op != ir.OpPrefix || !slices.ContainsFunc(w.Strs, func(s string) bool { return !strings.HasSuffix(s, "/") })
		if w.Field == f && w.Op == op && !w.Negated && len(w.Strs)+len(w.Nums) > 0 && ends {
			return w
		}
	}
	return nil
}

func addRule[K comparable](m map[K][]int, rule int, clauses []ir.Clause, f event.FieldID, op ir.Op, values func(*ir.Cond) []K) {
	alone := []int{rule}
	for i := range clauses {
		for _, v := range values(condOf(&clauses[i], f, op)) {
			switch l := m[v]; {
			case l == nil:
				m[v] = alone // as most are; appending to it makes a copy
			case l[len(l)-1] != rule:
				m[v] = append(l, rule)
			}
		}
	}
}

// find appends the rules that may hold, in the order in which they win.
func (x *ruleIndex) find(out []int, k *ir.Key) []int {
	out = append(out, x.rest...)
	out = append(out, x.uid[k.Num[event.FieldUID]]...)
	for _, p := range k.Str[event.FieldPath] {
		out = append(out, x.path[p]...)
		if len(x.dir) == 0 {
			continue
		}
		for i := range len(p) {
			if p[i] == '/' {
				out = append(out, x.dir[p[:i+1]]...)
			}
		}
	}
	for _, n := range k.Str[event.FieldName] {
		out = append(out, x.name[n]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

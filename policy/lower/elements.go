package lower

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// elements is a set of the elements that a list may have: for flags a mask, for
// paths those that are in a list or below a directory.
type elements struct {
	field event.Field
	mask  uint64
	paths []string
	dirs  []string
}

// passing returns the elements that pass a statement on one element; ok is false if
// the kernel has no test that holds for these and no others. A list with some element
// that passes "A or B" is one with some that passes A, or some that passes B, so
// what is lowered for "some element" says which these are, as long as it has no
// "and" in it.
func (t *translator) passing(f event.Field, s *ast.Expr) (elements, bool) {
	set := elements{field: f}
	some, err := t.lowerBody(ast.NewBody(s))
	if err != nil {
		return set, false
	}
	return set, set.add(some)
}

func (s *elements) add(some formula) bool {
	switch x := some.(type) {
	case constant:
		return !bool(x)
	case or:
		return !slices.ContainsFunc(x, func(f formula) bool { return !s.add(f) })
	case *atom:
		switch {
		case x.Field != s.field.ID || x.Outside:
			return false
		case x.Op == ir.OpMaskAny:
			s.mask |= x.Mask
		case x.Op == ir.OpIn:
			s.paths = append(s.paths, x.Strs...)
		case x.Op == ir.OpPrefix:
			s.dirs = append(s.dirs, x.Strs...)
		default:
			return false
		}
		return true
	}
	return false
}

// and returns the elements that are in both sets. Of two directories one is below the
// other, or they have nothing in common.
func (s *elements) and(o *elements) elements {
	out := elements{field: s.field, mask: s.mask & o.mask}
	for _, x := range [][2]*elements{{s, o}, {o, s}} {
		listed := sorted(slices.Clone(x[1].paths))
		in := func(p string) bool {
			_, ok := slices.BinarySearch(listed, p)
			return ok || slices.ContainsFunc(x[1].dirs, func(dir string) bool { return strings.HasPrefix(p, dir) })
		}
		for _, p := range x[0].paths {
			if in(p) {
				out.paths = append(out.paths, p)
			}
		}
		for _, dir := range x[0].dirs {
			if slices.ContainsFunc(x[1].dirs, func(above string) bool { return strings.HasPrefix(dir, above) }) {
				out.dirs = append(out.dirs, dir)
			}
		}
	}
	return out
}

// outside: the list has an element that is none of the set. An empty set, of which
// nobody can say that something is outside without counting, is not ok.
func (s *elements) outside() (formula, bool) {
	if s.field.Kind == event.KindFlags {
		return maskAny(s.field, (1<<len(s.field.Bits)-1)&^s.mask), true
	}
	c := ir.Cond{Field: s.field.ID, Op: ir.OpIn, Strs: sorted(s.paths), Under: sorted(s.dirs), Outside: true}
	if len(c.Strs) == 0 {
		c.Op, c.Strs, c.Under = ir.OpPrefix, c.Under, nil
	}
	return &atom{c}, len(c.Strs) > 0
}

// except translates "some x in LIST; not A of x; not B of x": an element passes none
// of the tests.
func (t *translator) except(b ast.Body) (formula, bool) {
	b = t.elementInPlace(b)
	p, ok := t.solvable(b)
	if !ok || p.field.Kind != event.KindPaths || !p.field.In(t.hook) {
		return nil, false
	}
	set := elements{field: p.field}
	for _, s := range b {
		if r, ok := s.Terms.(*ast.Term); ok && !s.Negated && p.is(r.Value) {
			continue // there is one
		}
		test, ok := contrary(s)
		if !ok {
			return nil, false
		}
		passing, ok := t.passing(p.field, test)
		if !ok {
			return nil, false
		}
		set.paths, set.dirs = append(set.paths, passing.paths...), append(set.dirs, passing.dirs...)
	}
	return set.outside()
}

// elementInPlace puts the reference to an element in the place of a variable that
// is it: "v = LIST[i]".
func (t *translator) elementInPlace(b ast.Body) ast.Body {
	for i, e := range b {
		if e.Negated || len(e.With) > 0 || !e.IsEquality() {
			continue
		}
		for k := range 2 {
			v, ok := e.Operand(k).Value.(ast.Var)
			if _, isElement := t.element(e.Operand(1 - k).Value); !ok || !isElement {
				continue
			}
			out := ast.NewBody(ast.NewExpr(e.Operand(1 - k)))
			for j, other := range b {
				if j != i {
					out.Append(withValue(other, ast.NewTerm(v), e.Operand(1-k).Value))
				}
			}
			return out
		}
	}
	return b
}

package lower

import (
	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
)

// every translates "every x in LIST { TEST }" over the elements of a field: no element
// is outside of those that pass, and for each "not TEST", none passes that.
func (t *translator) every(x *ast.Every, e *ast.Expr) formula {
	f, ok := t.field(x.Domain.Value)
	if !ok || f.Kind != event.KindPaths && f.Kind != event.KindFlags {
		return t.unknown(CodeEvery, "`every` over a list that the kernel cannot walk", e, e.Location)
	}
	of := x.Domain.Value.(ast.Ref).Append(ast.VarTerm("every_element"))
	var none []formula
	var each *elements // what passes all statements that are not negated
	for _, s := range t.withoutNames(x.Body) {
		if len(s.With) > 0 || !onlyVar(s, x.Value) {
			return t.unknown(CodeEvery, "`every` whose body is not about one element", e, e.Location)
		}
		test, isContrary := contrary(s)
		if !isContrary {
			set, ok := t.passing(f, withValue(s, x.Value, of))
			if !ok {
				return t.unknown(CodeEvery, "`every` with a test that the kernel cannot make on each element", e, e.Location)
			}
			if each != nil {
				set = each.and(&set)
			}
			each = &set
			continue
		}
		some, err := t.lowerBody(ast.NewBody(withValue(test, x.Value, of)))
		if err != nil {
			return t.unknown(CodeEvery, "`every` that cannot be evaluated: "+err.Error(), e, e.Location)
		}
		none = append(none, neg(some))
	}
	if each != nil {
		outside, ok := each.outside()
		if !ok {
			return t.unknown(CodeEvery, "`every` that holds for an empty list only", e, e.Location)
		}
		none = append(none, neg(outside))
	}
	return conj(none...)
}

// withoutNames puts data in the place of the variables that OPA's compiler makes
// for it ("v = data.x"), if that is defined: else the body holds for no element.
func (t *translator) withoutNames(b ast.Body) ast.Body {
	for i, e := range b {
		if e.Negated || len(e.With) > 0 || !e.IsEquality() {
			continue
		}
		v, ok := e.Operand(0).Value.(ast.Var)
		r, isRef := e.Operand(1).Value.(ast.Ref)
		if !ok || !isRef || !r.IsGround() || !r.HasPrefix(ast.DefaultRootRef) {
			continue
		}
		if defined, err := t.lowerBody(ast.NewBody(e)); err != nil || defined != formula(constant(true)) {
			continue
		}
		var rest ast.Body
		for k, other := range b {
			if k != i {
				rest = append(rest, withValue(other, ast.NewTerm(v), r))
			}
		}
		return t.withoutNames(rest)
	}
	return b
}

// contrary returns the statement that holds where s does not, if that one is not
// negated.
func contrary(s *ast.Expr) (*ast.Expr, bool) {
	if s.Negated {
		return positiveCopy(s), true
	}
	if x, ok := s.Terms.(*ast.Not); ok && len(x.Body) == 1 && !x.Body[0].Negated {
		return x.Body[0].Copy(), true
	}
	if s.IsCall() && ast.NotEqual.Ref().Equal(s.Operator()) {
		return ast.Equality.Expr(s.Operand(0), s.Operand(1)), true
	}
	return nil, false
}

// onlyVar: the statement has no variable but this one.
func onlyVar(s *ast.Expr, v *ast.Term) bool {
	for name := range localVars(s) {
		if name.Compare(v.Value) != 0 {
			return false
		}
	}
	return true
}

// withValue puts a value in the place of a variable.
func withValue(s *ast.Expr, v *ast.Term, value ast.Value) *ast.Expr {
	out, err := ast.TransformVars(s.Copy(), func(x ast.Var) (ast.Value, error) {
		if x.Compare(v.Value) == 0 {
			return value, nil
		}
		return x, nil
	})
	if err != nil { // the function above returns none
		return s
	}
	return out.(*ast.Expr)
}

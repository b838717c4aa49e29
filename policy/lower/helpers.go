package lower

import "github.com/open-policy-agent/opa/v1/ast"

// Partial evaluation leaves some helpers as rules: those it generated itself
// (for "not" over several bodies, for default), and those with else.

// supportTruthy: a generated helper, true or undefined, perhaps with a default.
func (t *translator) supportTruthy(rules []*ast.Rule, e *ast.Expr) formula {
	var bodies []formula
	holds := false
	for _, r := range rules {
		if r.Else != nil || len(r.Head.Args) > 0 || r.Head.Key != nil || r.Head.Value == nil ||
			!ast.IsConstant(r.Head.Value.Value) {
			return t.unknown(CodeHelper, "the helper rule could not be inlined", e, e.Location)
		}
		isFalse := r.Head.Value.Value.Compare(ast.Boolean(false)) == 0
		switch {
		case r.Default:
			holds = !isFalse
		case isFalse:
			return t.unknown(CodeHelper, "the helper rule has a body for false", e, e.Location)
		default:
			bodies = append(bodies, t.body(r.Body))
		}
	}
	if holds {
		return constant(true)
	}
	return disj(bodies...)
}

// isSupportSet: a generated set with constant members.
func (t *translator) isSupportSet(rules []*ast.Rule) bool {
	for _, r := range rules {
		if r.Head.RuleKind() != ast.MultiValue || r.Else != nil || len(r.Head.Args) > 0 || r.Head.Key == nil ||
			!ast.IsConstant(r.Head.Key.Value) {
			return false
		}
	}
	return len(rules) > 0
}

// setHas: when the set has v, or anything if v is nil.
func (t *translator) setHas(rules []*ast.Rule, v ast.Value) formula {
	var bodies []formula
	for _, r := range rules {
		if v == nil || r.Head.Key.Value.Compare(v) == 0 {
			bodies = append(bodies, t.body(r.Body))
		}
	}
	return disj(bodies...)
}

// aCase is one value of a complete rule or function, and when it has it.
type aCase struct {
	when  formula
	value ast.Value
}

// cases expands a complete rule or function that partial evaluation left alone,
// because it has else: ordered cases, of which an earlier one excludes a later.
func (t *translator) cases(r ast.Ref, actual ...*ast.Term) ([]aCase, bool) {
	if !r.HasPrefix(ast.DefaultRootRef) || !r.IsGround() {
		return nil, false
	}
	rules := t.Compiler.GetRulesExact(r)
	if len(rules) == 0 {
		return nil, false
	}
	var out []aCase
	var byDefault ast.Value
	for _, rule := range rules {
		if len(rule.Head.Args) != len(actual) || rule.Head.Key != nil {
			return nil, false
		}
		if rule.Default {
			if !ast.IsConstant(rule.Head.Value.Value) {
				return nil, false
			}
			byDefault = rule.Head.Value.Value
			continue
		}
		chain, ok := t.chain(rule, actual)
		if !ok {
			return nil, false
		}
		out = append(out, chain...)
	}
	if byDefault != nil {
		var none []formula
		for _, c := range out {
			none = append(none, neg(c.when))
		}
		out = append(out, aCase{conj(none...), byDefault})
	}
	return out, true
}

func (t *translator) chain(rule *ast.Rule, actual []*ast.Term) ([]aCase, bool) {
	var out []aCase
	var before []formula
	for n := rule; n != nil; n = n.Else {
		if n.Head.Value == nil || !ast.IsConstant(n.Head.Value.Value) {
			return nil, false
		}
		body := ast.Body{}
		for i, a := range n.Head.Args[:len(actual)] {
			body.Append(ast.Equality.Expr(a, actual[i]))
		}
		for _, e := range n.Body {
			body.Append(e.Copy())
		}
		f, err := t.lowerBody(body)
		if err != nil {
			return nil, false
		}
		when := []formula{f}
		for _, p := range before {
			when = append(when, neg(p))
		}
		out = append(out, aCase{conj(when...), n.Head.Value.Value})
		before = append(before, f)
	}
	return out, true
}

// where: when the value satisfies the predicate.
func where(cs []aCase, pred func(ast.Value) bool) formula {
	var out []formula
	for _, c := range cs {
		if pred(c.value) {
			out = append(out, c.when)
		}
	}
	return disj(out...)
}

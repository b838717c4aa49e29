package lower

import (
	"errors"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// solve handles statements that together read exactly one field and, for the
// rest, only data: OPA itself lists the field values that satisfy them, the
// field being replaced by a variable. A test with a pattern (startswith, ...)
// becomes a list of its patterns. So 100,000 entries are one set, and never
// 100,000 alternatives. ok is false if the statements are not of that kind.
func (t *translator) solve(b ast.Body) (formula, bool) {
	p, ok := t.solvable(b)
	if !ok {
		return nil, false
	}
	if !p.field.In(t.hook) {
		return constant(false), true // an element of a list that is empty on this hook
	}
	if p.field.Kind == event.KindFlags {
		return t.solveFlags(b, p)
	}
	if f, ok := t.solveFast(b, p); ok {
		return f, true
	}
	body, op, ok := t.generator(b, p)
	if !ok {
		return nil, false
	}
	q, err := t.Compiler.QueryCompiler().Compile(body)
	if err != nil {
		return nil, false // unsafe: the values cannot be listed
	}
	var vals valueSet
	err = topdown.NewQuery(q).WithCompiler(t.Compiler).WithStore(t.Store).WithTransaction(t.Txn).
		Iter(t.ctx, func(r topdown.QueryResult) error {
			x, ok := r[solveVar]
			if !ok {
				return errors.New("no binding")
			}
			vals.add(x.Value)
			return nil
		})
	if err != nil || op != ir.OpIn && vals.others {
		return nil, false
	}
	return t.solved(b[0], p.field, op, &vals), true
}

const solveVar = ast.Var("k__")

func (t *translator) solved(e *ast.Expr, f event.Field, op ir.Op, vals *valueSet) formula {
	if f.Kind == event.KindInt {
		return inNums(f, vals.nums...)
	}
	return t.strings(e, op, f, vals.strs...)
}

// problem is what solve knows of its statements.
type problem struct {
	field event.Field
	ref   ast.Ref // the reference to the field, or to some element of it
	uses  int     // how often it is read
}

// is reports whether a value is the reference that is solved for.
func (p *problem) is(v ast.Value) bool {
	r, ok := v.(ast.Ref)
	return ok && r.Equal(p.ref)
}

func (t *translator) solvable(b ast.Body) (*problem, bool) {
	p := &problem{}
	good := nondeterministic(b) == ""
	for _, e := range b {
		good = good && len(e.With) == 0
	}
	ast.WalkRefs(b, func(r ast.Ref) bool {
		switch {
		case r[0].Value.Compare(ast.InputRootDocument.Value) == 0:
			f, ok := t.field(r)
			if !ok {
				f, ok = t.element(r)
			}
			if !ok || p.ref != nil && !p.ref.Equal(r) {
				good = false
				return true
			}
			p.field, p.ref = f, r
			p.uses++
			return true
		case r.HasPrefix(ast.DefaultRootRef):
			// A virtual document may itself read input.
			if len(t.Compiler.GetRules(r.ConstantPrefix())) > 0 || r.HasPrefix(partialRoot()) {
				good = false
			}
		}
		return false
	})
	if !good || p.ref == nil || p.field.ID == event.FieldNone || p.field.Part == event.PartUser {
		return nil, false
	}
	_, isField := t.field(p.ref)
	switch p.field.Kind {
	case event.KindString, event.KindPath, event.KindInt, event.KindEnum, event.KindDigest:
		return p, isField
	case event.KindPaths, event.KindFlags, event.KindList:
		// The element's variable must say nothing but "some element".
		return p, !isField && t.onlyIn(b, p) && !enclosed(b)
	}
	return nil, false
}

// enclosed: something of input is read within a comprehension, an every or a
// not { }: what a list is there is not what one of its elements is.
func enclosed(b ast.Body) bool {
	found := false
	inside := ast.NewGenericVisitor(func(x any) bool {
		r, ok := x.(ast.Ref)
		found = found || ok && r.HasPrefix(ast.InputRootRef)
		return found
	})
	ast.NewGenericVisitor(func(x any) bool {
		switch x.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension, *ast.Every, *ast.Not, *ast.LogicalOr, *ast.LogicalAnd:
			inside.Walk(x)
			return true
		}
		return found
	}).Walk(b)
	return found
}

// onlyIn: the variable of the element occurs nowhere but in the reference.
func (t *translator) onlyIn(b ast.Body, p *problem) bool {
	v := p.ref[len(p.ref)-1].Value
	n := 0
	ast.WalkVars(b, func(x ast.Var) bool {
		if x.Compare(v) == 0 {
			n++
		}
		return false
	})
	return n == p.uses
}

// replace puts a value in the place of the field.
func (p *problem) replace(e *ast.Expr, by ast.Value) (*ast.Expr, bool) {
	x, err := ast.TransformRefs(e.Copy(), func(r ast.Ref) (ast.Value, error) {
		if r.Equal(p.ref) {
			return by, nil
		}
		return r, nil
	})
	if err != nil {
		return nil, false
	}
	out, ok := x.(*ast.Expr)
	return out, ok
}

// solveFlags tries each name of the closed set.
func (t *translator) solveFlags(b ast.Body, p *problem) (formula, bool) {
	var mask uint64
	for i, name := range p.field.Bits {
		var body ast.Body
		for _, e := range b {
			x, ok := p.replace(e, ast.String(name))
			if !ok {
				return nil, false
			}
			body.Append(x)
		}
		rs, err := t.run(body)
		if err != nil {
			return nil, false
		}
		if len(rs) > 0 {
			mask |= 1 << i
		}
	}
	if mask == 0 && len(b) == 1 && b[0].IsEquality() {
		for _, o := range b[0].Operands() {
			if s, ok := o.Value.(ast.String); ok {
				t.flag(b[0], p.field, string(s))
			}
		}
	}
	return maskAny(p.field, mask), true
}

// generator rewrites the statements into a query that lists the field's values,
// or the patterns of the one test that is made on it.
func (t *translator) generator(b ast.Body, p *problem) (ast.Body, ir.Op, bool) {
	op := ir.OpIn
	k, index := ast.NewTerm(solveVar), ast.VarTerm("i__")
	var body ast.Body
	for _, e := range b {
		cp := e.Copy()
		args := cp.Operands()
		if o := cp.Operator(); o != nil && !cp.Negated && len(args) == 2 && p.is(args[0].Value) {
			switch name := o.String(); name {
			case "internal.member_2": // k in c becomes c[_] = k
				if c, ok := indexed(args[1], index); ok {
					cp = ast.Equality.Expr(c, args[0])
				}
			case "startswith", "endswith", "strings.any_prefix_match", "strings.any_suffix_match":
				if p.uses != 1 {
					break // a filter on values that another statement lists
				}
				op = ir.OpPrefix
				if strings.HasSuffix(name, "suffix_match") || name == "endswith" {
					op = ir.OpSuffix
				}
				pattern := args[1]
				if strings.HasPrefix(name, "strings.") {
					var ok bool
					if pattern, ok = indexed(pattern, index); !ok {
						return nil, op, false
					}
				}
				body.Append(ast.Equality.Expr(pattern, k))
				continue
			}
		}
		x, ok := p.replace(cp, solveVar)
		if !ok {
			return nil, op, false
		}
		body.Append(x)
	}
	return body, op, true
}

// indexed makes collection[i].
func indexed(c, i *ast.Term) (*ast.Term, bool) {
	switch v := c.Value.(type) {
	case ast.Ref:
		return ast.NewTerm(v.Append(i)), true
	case ast.Var, *ast.Array, ast.Set, ast.Object:
		return ast.RefTerm(c, i), true
	}
	return nil, false
}

// scanLimit is the length of a list above which looking it through for each
// decision in user space is worth a warning.
const scanLimit = 1000

// solveFast reads the common shapes straight from the store: data.x[field],
// field in data.x, startswith(field, data.x[_]).
func (t *translator) solveFast(b ast.Body, p *problem) (formula, bool) {
	if len(b) != 1 {
		return nil, false
	}
	e := b[0]
	var vals valueSet
	switch terms := e.Terms.(type) {
	case *ast.Term: // data.x[field]
		r, ok := terms.Value.(ast.Ref)
		if !ok || len(r) < 2 || !p.is(r[len(r)-1].Value) {
			return nil, false
		}
		o, ok := t.read(r[:len(r)-1]).(ast.Object)
		if !ok {
			return nil, false
		}
		o.Foreach(func(k, v *ast.Term) {
			if v.Value.Compare(ast.Boolean(false)) != 0 {
				vals.add(k.Value)
			}
		})
		return t.solved(e, p.field, ir.OpIn, &vals), true
	case []*ast.Term:
		if len(terms) != 3 || !p.is(terms[1].Value) {
			return nil, false
		}
		r, ok := terms[2].Value.(ast.Ref)
		if !ok {
			return nil, false
		}
		op := ir.OpIn
		switch terms[0].String() {
		case "internal.member_2":
		case "strings.any_prefix_match":
			op = ir.OpPrefix
		case "strings.any_suffix_match":
			op = ir.OpSuffix
		case "startswith", "endswith", "eq", "equal":
			if _, ok := r[len(r)-1].Value.(ast.Var); !ok {
				return nil, false
			}
			r = r[:len(r)-1]
			switch terms[0].String() {
			case "startswith":
				op = ir.OpPrefix
			case "endswith":
				op = ir.OpSuffix
			}
		default:
			return nil, false
		}
		v := t.read(r)
		if v == nil || !vals.addMembers(v) || op != ir.OpIn && vals.others {
			return nil, false
		}
		t.scan(e, r, v)
		return t.solved(e, p.field, op, &vals), true
	}
	return nil, false
}

func (t *translator) scan(e *ast.Expr, r ast.Ref, v ast.Value) {
	if a, ok := v.(*ast.Array); ok && a.Len() > scanLimit {
		t.report(CodeScan, Warn, e.Location, fmt.Sprintf("user space looks through the %d entries of %s each time it evaluates the rule", a.Len(), r))
	}
}

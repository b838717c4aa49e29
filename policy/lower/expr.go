package lower

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"example.com/bailiff/internal/event"
)

// unknown makes an unknown part. The caller negates, so "not" is left out of
// what is shown.
func (t *translator) unknown(code Code, why string, x any, at *ast.Location) formula {
	u := &unknown{code: code, why: why, at: at, fields: t.reads(x)}
	if at != nil && len(at.Text) > 0 { // what the author wrote, not what OPA made of it
		u.expr = shorten(strings.TrimPrefix(string(at.Text), "not "))
	} else if s, ok := x.(interface{ String() string }); ok {
		u.expr = shorten(strings.TrimPrefix(s.String(), "not "))
	}
	return u
}

// shorten keeps what is shown of a residue on one line.
func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 160 {
		s = s[:157] + "..."
	}
	return s
}

// field returns the input field that a value is a reference to.
func (t *translator) field(v ast.Value) (event.Field, bool) {
	r, ok := v.(ast.Ref)
	if !ok || len(r) < 2 || r[0].Value.Compare(ast.InputRootDocument.Value) != 0 || len(r.ConstantPrefix()) != len(r) {
		return event.Field{}, false
	}
	return t.target.field(dotted(r))
}

// element returns the list field of which a value is some element:
// input.process.ancestors[i] with i a variable.
func (t *translator) element(v ast.Value) (event.Field, bool) {
	r, ok := v.(ast.Ref)
	if !ok || len(r) < 3 {
		return event.Field{}, false
	}
	if _, ok := r[len(r)-1].Value.(ast.Var); !ok {
		return event.Field{}, false
	}
	f, ok := t.field(r[:len(r)-1])
	return f, ok && (f.Kind == event.KindPaths || f.Kind == event.KindFlags || f.Kind == event.KindList)
}

// dotted writes a constant reference below input with dots between.
func dotted(r ast.Ref) string {
	keys := make([]string, 0, len(r)-1)
	for _, x := range r[1:] {
		s, ok := x.Value.(ast.String)
		if !ok {
			return ""
		}
		keys = append(keys, string(s))
	}
	return strings.Join(keys, ".")
}

// expr translates one statement that shares no variable with others.
func (t *translator) expr(e *ast.Expr) formula {
	if len(e.With) > 0 {
		return t.unknown(CodeWith, "`with` replaces what the rule reads", e, e.Location)
	}
	f := t.positive(e)
	if !e.Negated {
		return f
	}
	return conj(append(t.hoisted(e), neg(f))...)
}

func (t *translator) positive(e *ast.Expr) formula {
	if f, ok := t.ground(e); ok {
		return f
	}
	switch x := e.Terms.(type) {
	case *ast.Every:
		return t.every(x, e)
	case *ast.Not:
		return neg(t.body(x.Body))
	case *ast.LogicalOr:
		return disj(t.body(x.Lhs), t.body(x.Rhs))
	case *ast.LogicalAnd:
		return conj(t.body(x.Lhs), t.body(x.Rhs))
	case *ast.Term:
		return t.truthy(x, e)
	case []*ast.Term:
		if op, ok := x[0].Value.(ast.Ref); ok {
			return t.call(e, op, x[1:])
		}
	}
	return t.unknown(CodeStatement, "this kind of statement has no kernel form", e, e.Location)
}

// comprehends reports whether a statement has a comprehension.
func comprehends(x any) bool {
	found := false
	ast.WalkClosures(x, func(c any) bool {
		switch c.(type) {
		case *ast.ArrayComprehension, *ast.SetComprehension, *ast.ObjectComprehension:
			found = true
		}
		return found
	})
	return found
}

// ground evaluates a statement that reads neither input nor unknown data nor
// variables.
func (t *translator) ground(e *ast.Expr) (formula, bool) {
	if len(localVars(e)) > 0 || nondeterministic(e) != "" {
		return nil, false
	}
	constantOnly := true
	ast.WalkRefs(e, func(r ast.Ref) bool {
		if r.HasPrefix(ast.InputRootRef) || r.HasPrefix(ast.DefaultRootRef) {
			constantOnly = false
		}
		return false
	})
	if !constantOnly {
		return nil, false
	}
	cp := e.Copy()
	cp.Negated = false
	rs, err := t.run(ast.Body{cp})
	if err != nil {
		return nil, false
	}
	return constant(len(rs) > 0), true
}

func (t *translator) run(b ast.Body) (topdown.QueryResultSet, error) {
	q, err := t.Compiler.QueryCompiler().Compile(b)
	if err != nil {
		return nil, err
	}
	return topdown.NewQuery(q).WithCompiler(t.Compiler).WithStore(t.Store).WithTransaction(t.Txn).Run(t.ctx)
}

// truthy translates a term that stands as a statement.
func (t *translator) truthy(x *ast.Term, e *ast.Expr) formula {
	r, ok := x.Value.(ast.Ref)
	if !ok {
		if ast.IsConstant(x.Value) {
			return constant(x.Value.Compare(ast.Boolean(false)) != 0)
		}
		return t.unknown(CodeStatement, "this kind of term has no kernel form", e, e.Location)
	}
	if _, ok := t.field(r); ok {
		return constant(true) // every field is defined, none is boolean
	}
	if rules, ok := t.support[r.String()]; ok {
		return t.supportTruthy(rules, e)
	}
	if cs, ok := t.cases(r); ok {
		return where(cs, func(v ast.Value) bool { return v.Compare(ast.Boolean(false)) != 0 })
	}
	if f, ok := t.solve(ast.Body{positiveCopy(e)}); ok {
		return f
	}
	if x, ok := t.text(r); ok {
		return t.there(e, x)
	}
	if f, ok := t.element(r); ok {
		return t.notEmpty(f, e)
	}
	return t.unknown(CodeUserField, "the kernel does not hold "+x.String(), e, e.Location)
}

// notEmpty: some element of the list exists.
func (t *translator) notEmpty(f event.Field, e *ast.Expr) formula {
	switch {
	case !f.In(t.hook):
		return constant(false)
	case f.Kind == event.KindFlags:
		return maskAny(f, 1<<len(f.Bits)-1)
	}
	return t.unknown(CodeList, "the kernel cannot count the elements of input."+f.Path, e, e.Location)
}

func positiveCopy(e *ast.Expr) *ast.Expr {
	cp := e.Copy()
	cp.Negated = false
	return cp
}

// hoisted: Rego v1 moves the operands of a negated call out of the negation
// ("not f(x) > 1" is "y = f(x); not y > 1"), so that an undefined operand makes
// the statement false, not true. Equality is the exception. Fields are always
// defined, so only helpers, functions and look-ups in data matter.
func (t *translator) hoisted(e *ast.Expr) []formula {
	if !e.IsCall() || e.IsEquality() {
		return nil
	}
	var out []formula
	for _, a := range e.Operands() {
		out = append(out, t.defined(a, e)...)
	}
	return out
}

func (t *translator) defined(x *ast.Term, e *ast.Expr) []formula {
	unsure := func() []formula {
		return []formula{t.unknown(CodeHelper, "under `not` it matters whether "+shorten(x.String())+" is defined", e, e.Location)}
	}
	exists := func(ast.Value) bool { return true }
	switch v := x.Value.(type) {
	case ast.Call:
		r, _ := v[0].Value.(ast.Ref)
		if r.HasPrefix(ast.DefaultRootRef) {
			if cs, ok := t.cases(r, v[1:]...); ok {
				return []formula{where(cs, exists)}
			}
			return unsure()
		}
		var out []formula
		for _, a := range v[1:] {
			out = append(out, t.defined(a, e)...)
		}
		return out
	case ast.Ref:
		if _, ok := t.field(v); ok || t.isSupportSet(t.support[v.String()]) {
			return nil
		}
		if v.HasPrefix(ast.InputRootRef) {
			return []formula{t.definedInput(v, e)}
		}
		if !v.HasPrefix(ast.DefaultRootRef) {
			return nil
		}
		if v.HasPrefix(partialRoot()) {
			return unsure()
		}
		if cs, ok := t.cases(v); ok {
			return []formula{where(cs, exists)}
		}
		b := ast.Body{ast.Equality.Expr(x, ast.VarTerm("defined__"))}
		if len(v) == len(v.ConstantPrefix()) && len(t.Compiler.GetRules(v)) == 0 {
			if rs, err := t.run(b); err == nil {
				return []formula{constant(len(rs) > 0)}
			}
		}
		if f, ok := t.solve(b); ok {
			return []formula{f}
		}
		return unsure()
	}
	return nil
}

// definedInput: a place below a list or map field may be missing.
func (t *translator) definedInput(r ast.Ref, e *ast.Expr) formula {
	if x, ok := t.text(r); ok && x.one() {
		return t.there(e, x)
	}
	if p := r.ConstantPrefix(); len(p) == len(r) {
		for _, f := range t.target.Fields {
			if strings.HasPrefix(f.Path, dotted(r)+".") {
				return constant(true) // an object that holds fields
			}
		}
	}
	return t.unknown(CodeUserField, "under `not` it matters whether "+r.String()+" is defined", e, e.Location)
}

func partialRoot() ast.Ref { return ast.Ref{ast.DefaultRootDocument, ast.StringTerm("partial")} }

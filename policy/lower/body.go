package lower

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"example.com/bailiff/internal/event"
)

// lowerer is what the rules of one bundle share.
type lowerer struct {
	Source
	target Target
	big    []*ast.Term     // data documents that are not unrolled
	vars   map[string]bool // environment variables that rules name
	// What is wrong with the regular expressions that rules test texts with, nil if nothing.
	patterns map[string]error
	refused  int // of them
	zero     map[string]ast.Value
}

// maxDepth bounds helpers that partial evaluation leaves and that are expanded
// here; partialTime bounds the partial evaluation of one body.
// It is long: on a machine that boots under load a rule of the baseline took more
// than five seconds, and a rule that is given up is decided after the act.
const (
	maxDepth    = 8
	partialTime = 20 * time.Second
)

// translator lowers one rule for its hook.
type translator struct {
	*lowerer
	ctx     context.Context
	hook    event.Hook
	depth   int
	support map[string][]*ast.Rule // helpers that partial evaluation generated
	found   *findings
}

// findings are diagnostics that do not hang on an unknown part.
type findings struct{ list []Deferred }

func (t *translator) report(code Code, s Severity, at *ast.Location, why string) {
	d := Deferred{Code: code, Severity: s, Why: why, Hint: hints[code]}
	if at != nil {
		d.File, d.Line, d.Col = within(at.File), at.Row, at.Col
	}
	t.found.list = append(t.found.list, d)
}

// lowerBody partially evaluates a compiled body and translates what is left.
// All of input is unknown: with only its leaves unknown OPA 1.22.2 takes
// input.file[k] with k bound to "path" for a known, undefined reference.
func (t *translator) lowerBody(body ast.Body) (formula, error) {
	if t.depth >= maxDepth {
		return t.unknown(CodeHelper, "helper rules are nested too deep", body, body.Loc()), nil
	}
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(partialTime, cancel.Cancel)
	defer timer.Stop()
	defer context.AfterFunc(t.ctx, cancel.Cancel)()
	unknowns := append([]*ast.Term{ast.NewTerm(ast.InputRootRef)}, t.big...)
	bodies, modules, err := topdown.NewQuery(body).WithCompiler(t.Compiler).WithStore(t.Store).WithTransaction(t.Txn).
		WithUnknowns(unknowns).WithPartialNamespace("partial").WithCancel(cancel).PartialRun(t.ctx)
	if t.ctx.Err() != nil {
		return nil, t.ctx.Err()
	}
	// A cancelled evaluation below "not" is not reported as an error.
	if cancel.Cancelled() || len(bodies) > t.target.Limits.Residuals {
		return t.unknown(CodeAlternatives, fmt.Sprintf("the rule has more than %d alternatives", t.target.Limits.Residuals), body, body.Loc()), nil
	}
	if err != nil {
		return nil, fmt.Errorf("partially evaluate: %w", err)
	}
	inner := *t
	inner.depth++
	inner.support = map[string][]*ast.Rule{}
	for _, m := range modules {
		for _, r := range m.Rules {
			k := m.Package.Path.Extend(r.Head.Ref()).String()
			inner.support[k] = append(inner.support[k], r)
		}
	}
	var alternatives []formula
	for _, b := range bodies {
		alternatives = append(alternatives, inner.body(b))
	}
	return disj(alternatives...), nil
}

// body translates a conjunction of statements.
func (t *translator) body(b ast.Body) formula {
	b = t.inlineAliases(t.fix(b))
	vars := make([]ast.VarSet, len(b))
	uses := map[ast.Var]int{}
	for i, e := range b {
		vars[i] = localVars(e)
		for v := range vars[i] {
			uses[v]++
		}
	}
	var rest []int
	var out []formula
	for i, e := range b {
		needs, ok := t.isPureDefinition(e, uses)
		if !ok {
			rest = append(rest, i)
			continue
		}
		for _, x := range needs {
			out = append(out, t.there(e, x))
		}
	}
	for _, group := range joined(rest, vars) {
		if len(group) == 1 {
			out = append(out, t.expr(b[group[0]]))
			continue
		}
		g := make(ast.Body, len(group))
		for k, i := range group {
			g[k] = b[i]
		}
		out = append(out, t.group(g))
	}
	return conj(out...)
}

// joined splits statements into groups that share no variable: "some v with A
// of v and B of v" must never be split into "some A and some B".
func joined(rest []int, vars []ast.VarSet) [][]int {
	var groups [][]int
	done := map[int]bool{}
	for _, i := range rest {
		if done[i] {
			continue
		}
		group, shared := []int{i}, vars[i].Copy()
		done[i] = true
		for grown := true; grown; {
			grown = false
			for _, j := range rest {
				if !done[j] && len(shared.Intersect(vars[j])) > 0 {
					group, done[j], grown = append(group, j), true, true
					shared.Update(vars[j])
				}
			}
		}
		slices.Sort(group)
		groups = append(groups, group)
	}
	return groups
}

func (t *translator) group(g ast.Body) formula {
	if f, ok := t.solve(g); ok {
		return f
	}
	if f, ok := t.except(g); ok {
		return f
	}
	if name := nondeterministic(g); name != "" {
		return t.unknown(CodeTime, "the answer depends on "+name, g, g.Loc())
	}
	if comprehends(g) {
		return t.unknown(CodeComprehension, "a comprehension over input has no kernel form", g, g.Loc())
	}
	return t.unknown(CodeJoined, "these statements are joined by a variable, the kernel can only test fields one by one", g, g.Loc())
}

// fix replaces what is constant on this hook: input.hook, and fields that do
// not apply to it, which hold their zero value.
func (t *translator) fix(b ast.Body) ast.Body {
	out := make(ast.Body, len(b))
	for i, e := range b {
		x, err := ast.TransformRefs(e.Copy(), func(r ast.Ref) (ast.Value, error) {
			if z, ok := t.zero[t.hook.String()+" "+r.String()]; ok {
				return z, nil
			}
			return r, nil
		})
		if err != nil {
			return b
		}
		out[i] = x.(*ast.Expr)
	}
	return out
}

// constants lists what is constant in each package, by hook and reference.
func constants(fields []event.Field) map[string]ast.Value {
	out := map[string]ast.Value{}
	for _, h := range event.Judged {
		hooks := h.Hooks()
		if len(hooks) == 1 {
			out[h.String()+" input.hook"] = ast.String(h.String())
		}
		for _, f := range fields {
			if f.In(h) {
				continue
			}
			var v ast.Value = ast.String("")
			switch f.Kind {
			case event.KindInt:
				v = ast.Number("0")
			case event.KindFlags, event.KindPaths, event.KindList, event.KindNames:
				v = ast.NewArray()
			case event.KindMap:
				v = ast.NewObject()
			}
			out[h.String()+" input."+f.Path] = v
		}
	}
	return out
}

// localVars are the variables of a statement, those in closures included: a
// closure may read a variable that another statement binds.
func localVars(e *ast.Expr) ast.VarSet {
	vis := ast.NewVarVisitor().WithParams(ast.VarVisitorParams{SkipRefCallHead: true})
	vis.Walk(e)
	vs := ast.NewVarSet()
	for v := range vis.Vars() {
		if v != "input" && v != "data" {
			vs.Add(v)
		}
	}
	return vs
}

// inlineAliases removes "v = <constant or field>" by substitution: fields are
// always defined, so nothing is lost.
func (t *translator) inlineAliases(b ast.Body) ast.Body {
	for {
		at, v, by := t.alias(b)
		if at < 0 {
			return b
		}
		next := ast.Body{}
		for i, e := range b {
			if i == at {
				continue
			}
			x, err := ast.TransformVars(e.Copy(), func(y ast.Var) (ast.Value, error) {
				if y == v {
					return by, nil
				}
				return y, nil
			})
			if err != nil {
				return b
			}
			next = append(next, x.(*ast.Expr))
		}
		b = next
	}
}

func (t *translator) alias(b ast.Body) (at int, v ast.Var, by ast.Value) {
	for i, e := range b {
		if e.Negated || len(e.With) > 0 || !e.IsEquality() {
			continue
		}
		for k := range 2 {
			x, ok := e.Operand(k).Value.(ast.Var)
			o := e.Operand(1 - k)
			if !ok || x == "input" || x == "data" {
				continue
			}
			_, isField := t.field(o.Value)
			// A list cannot stand as the head of a reference, so a list constant stays.
			if isField || ast.IsScalar(o.Value) {
				return i, x, o.Value
			}
		}
	}
	return -1, "", nil
}

// total built-ins never fail on well-typed operands, so that an unused output
// adds no condition.
func totalBuiltin(name string) bool {
	switch name {
	case "sprintf", "concat", "lower", "upper", "split", "object.get", "count", "bits.and", "bits.or",
		"trim", "trim_prefix", "trim_suffix", "replace", "json.marshal", "internal.template_string":
		return true
	}
	return false
}

// isPureDefinition: the statement succeeds, once, where the texts that it needs
// are there, and nothing else reads what it binds, such as the message of a head.
func (t *translator) isPureDefinition(e *ast.Expr, uses map[ast.Var]int) (needs []textRef, ok bool) {
	if e.Negated || len(e.With) > 0 || !e.IsCall() {
		return nil, false
	}
	total := func(x *ast.Term) bool { return t.total(x, &needs) }
	args := e.Operands()
	unread := func(x *ast.Term) bool {
		v, ok := x.Value.(ast.Var)
		return ok && uses[v] == 1
	}
	if e.IsEquality() {
		return needs, unread(args[0]) && total(args[1]) || unread(args[1]) && total(args[0])
	}
	bi, ok := ast.BuiltinMap[e.Operator().String()]
	if !ok || len(args) != bi.Decl.Arity()+1 || !totalBuiltin(bi.Name) || !unread(args[len(args)-1]) {
		return nil, false
	}
	return needs, !slices.ContainsFunc(args[:len(args)-1], func(a *ast.Term) bool { return !total(a) })
}

// total: the term is defined for every document in which the texts are there
// that it adds to needs.
func (t *translator) total(x *ast.Term, needs *[]textRef) bool {
	ok := true
	each := func(a *ast.Term) { ok = ok && t.total(a, needs) }
	switch v := x.Value.(type) {
	case ast.Var:
		return false
	case ast.Ref:
		if x, ok := t.text(v); ok && x.one() {
			*needs = append(*needs, x)
			return true
		}
		_, isField := t.field(v)
		return isField
	case ast.Call:
		for _, a := range v[1:] {
			each(a)
		}
		return ok && totalBuiltin(v[0].Value.String())
	case *ast.Array:
		v.Foreach(each)
	case ast.Object:
		v.Foreach(func(k, a *ast.Term) { each(k); each(a) })
	case ast.Set:
		v.Foreach(each)
	}
	return ok
}

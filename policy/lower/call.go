package lower

import (
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// call translates a statement that is a call.
func (t *translator) call(e *ast.Expr, op ast.Ref, args []*ast.Term) formula {
	name := op.String()
	// builtin(args..., out): partial evaluation folds "out = constant" back in
	// as one more operand.
	if bi, ok := ast.BuiltinMap[name]; ok && len(args) == bi.Decl.Arity()+1 {
		inner := ast.Call(append([]*ast.Term{ast.NewTerm(op)}, args[:len(args)-1]...))
		return t.compare(e, "eq", ast.NewTerm(inner), args[len(args)-1])
	}
	switch name {
	case "eq", "equal", "assign":
		return t.compare(e, "eq", args[0], args[1])
	case "neq", "lt", "lte", "gt", "gte":
		return t.compare(e, name, args[0], args[1])
	case "internal.member_2":
		return t.member(e, args[0], args[1])
	}
	if f := t.textTest(e, name, args); f != nil {
		return f
	}
	if f, ok := t.solve(ast.Body{positiveCopy(e)}); ok {
		return f
	}
	if strings.HasPrefix(name, "data.") {
		if cs, ok := t.cases(op, args...); ok {
			return where(cs, func(v ast.Value) bool { return v.Compare(ast.Boolean(false)) != 0 })
		}
		return t.unknown(CodeHelper, "the function "+name+" could not be inlined", e, e.Location)
	}
	if name := nondeterministic(e); name != "" {
		return t.unknown(CodeTime, "the answer depends on "+name, e, e.Location)
	}
	for _, a := range args {
		if f, ok := t.field(a.Value); ok && f.ID == event.FieldNone {
			return t.notHeld(e, f)
		}
		if f, ok := t.element(a.Value); ok && f.ID == event.FieldNone {
			return t.notHeld(e, f)
		}
	}
	return t.unknown(CodeBuiltin, "the kernel has no form of "+name, e, e.Location)
}

// member translates "x in collection".
func (t *translator) member(e *ast.Expr, x, coll *ast.Term) formula {
	if ast.IsConstant(coll.Value) {
		if f, ok := t.memberOfConstant(e, x, coll.Value); ok {
			return f
		}
	}
	if r, ok := coll.Value.(ast.Ref); ok && ast.IsConstant(x.Value) && t.isSupportSet(t.support[r.String()]) {
		return t.setHas(t.support[r.String()], x.Value)
	}
	if f, ok := t.field(coll.Value); ok && ast.IsConstant(x.Value) {
		return t.constantIn(e, x.Value, f)
	}
	if f, ok := t.solve(ast.Body{positiveCopy(e)}); ok {
		return f
	}
	return t.unknown(CodeList, "the kernel does not hold this list", e, e.Location)
}

// memberOfConstant: a field, or an element of a list of paths, in a constant collection.
func (t *translator) memberOfConstant(e *ast.Expr, x *ast.Term, coll ast.Value) (formula, bool) {
	v := &valueSet{}
	if x, ok := t.text(x.Value); ok {
		if !v.addMembers(coll) {
			return constant(false), true
		}
		return t.textIs(e, ir.OpIn, x, v.strs...), true
	}
	f, ok := t.field(x.Value)
	if !ok {
		if f, ok = t.element(x.Value); !ok || f.Kind != event.KindPaths {
			return nil, false
		}
	}
	if !v.addMembers(coll) {
		return constant(false), true
	}
	switch f.Kind {
	case event.KindString, event.KindPath, event.KindPaths, event.KindEnum, event.KindDigest:
		return t.strings(e, ir.OpIn, f, v.strs...), true
	case event.KindInt:
		if !t.target.holds(f, ir.OpIn) {
			return t.notHeld(e, f), true
		}
		return inNums(f, v.nums...), true
	}
	return nil, false
}

// constantIn: a constant in a list field.
func (t *translator) constantIn(e *ast.Expr, x ast.Value, f event.Field) formula {
	s, ok := x.(ast.String)
	switch f.Kind {
	case event.KindString, event.KindPath, event.KindInt, event.KindEnum, event.KindDigest:
		return constant(false) // not a collection
	case event.KindFlags:
		if !ok {
			return constant(false)
		}
		return maskAny(f, t.flag(e, f, string(s)))
	case event.KindPaths:
		if !ok {
			return constant(false)
		}
		return t.strings(e, ir.OpIn, f, string(s))
	case event.KindList:
		if !ok {
			return constant(false)
		}
		return t.textIs(e, ir.OpIn, textRef{field: f}, string(s))
	}
	return t.notHeld(e, f)
}

// flag returns the bit of a flag name. One that is not in the closed set is a
// mistake that would silently disarm the rule.
func (t *translator) flag(e *ast.Expr, f event.Field, name string) uint64 {
	m := event.FlagMask(f.Bits, []string{name})
	if m == 0 {
		t.report(CodeUnknownFlag, Error, e.Location, fmt.Sprintf("input.%s never holds %q", f.Path, name))
		hint := "it holds any of: " + strings.Join(f.Bits, ", ")
		if f.ID == event.FieldIdentities {
			hint = "say in data.bailiff.identities which files have this name; there are: " + strings.Join(f.Bits, ", ")
		}
		t.found.list[len(t.found.list)-1].Hint = hint
	}
	return m
}

// textTest translates prefix, suffix, glob and regex tests; nil if it is none
// of them or not on a field and constants.
func (t *translator) textTest(e *ast.Expr, name string, args []*ast.Term) formula {
	subject, pattern := 0, 1
	var op ir.Op
	switch name {
	case "startswith", "strings.any_prefix_match":
		op = ir.OpPrefix
	case "endswith", "strings.any_suffix_match":
		op = ir.OpSuffix
	case "contains":
		op = ir.OpContains
	case "glob.match":
		subject, pattern = 2, 0
	case "regex.match":
		subject, pattern = 1, 0
	default:
		return nil
	}
	x, isText := t.text(args[subject].Value)
	f, ok := t.field(args[subject].Value)
	switch {
	case ok && f.Kind == event.KindList && strings.HasPrefix(name, "strings."):
		x, isText = textRef{field: f}, true // any of the arguments
	case ok && f.Kind == event.KindList, ok && f.Kind == event.KindMap:
		return nil
	case isText:
		f = x.field
	case !ok:
		if f, ok = t.element(args[subject].Value); !ok || f.Kind != event.KindPaths {
			return nil
		}
	}
	if f.Kind == event.KindInt || f.Kind == event.KindFlags || !ast.IsConstant(args[pattern].Value) {
		return nil
	}
	if f.ID == event.FieldNone {
		return t.notHeld(e, f)
	}
	switch name {
	case "glob.match", "regex.match":
		p, ok := args[pattern].Value.(ast.String)
		if !ok {
			return nil
		}
		if isText && name == "regex.match" {
			return t.textMatches(e, x, string(p))
		}
		if isText {
			return t.unknown(CodeText, "the kernel has no form of "+name+" for arguments and variables", e, e.Location)
		}
		if name == "glob.match" {
			return t.glob(e, f, string(p), args[1].Value)
		}
		return t.regex(e, f, string(p))
	}
	v := &valueSet{}
	if s, ok := args[pattern].Value.(ast.String); ok {
		v.strs = []string{string(s)}
	} else if !v.addMembers(args[pattern].Value) || v.others {
		return nil
	}
	if isText {
		return t.textIs(e, op, x, v.strs...)
	}
	return t.strings(e, op, f, v.strs...)
}

// valueSet collects the values that a field can be equal to; the rest of a
// collection cannot matter for membership.
type valueSet struct {
	strs   []string
	nums   []uint64
	others bool // there were values of other types
}

func (s *valueSet) add(v ast.Value) {
	switch v := v.(type) {
	case ast.String:
		s.strs = append(s.strs, string(v))
	case ast.Number:
		if n, ok := wholeNumber(v); ok {
			s.nums = append(s.nums, n)
		}
		s.others = true
	default:
		s.others = true
	}
}

// addMembers adds what `in` looks at; false if v is no collection.
func (s *valueSet) addMembers(v ast.Value) bool {
	switch c := v.(type) {
	case *ast.Array:
		c.Foreach(func(x *ast.Term) { s.add(x.Value) })
	case ast.Set:
		c.Foreach(func(x *ast.Term) { s.add(x.Value) })
	case ast.Object:
		c.Foreach(func(_, x *ast.Term) { s.add(x.Value) })
	default:
		return false
	}
	return true
}

// wholeNumber returns a number that a kernel field can have.
func wholeNumber(n ast.Number) (uint64, bool) {
	if a, ok := compareNumber("eq", event.Field{ID: event.FieldUID}, n).(*atom); ok {
		return a.Nums[0], true
	}
	return 0, false
}

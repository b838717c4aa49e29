package lower

import (
	"fmt"
	"math"
	"math/big"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// holdsFor says whether "a op b" holds, given a.Compare(b).
func holdsFor(op string, c int) bool {
	switch op {
	case "eq":
		return c == 0
	case "neq":
		return c != 0
	case "lt":
		return c < 0
	case "lte":
		return c <= 0
	case "gt":
		return c > 0
	}
	return c >= 0
}

// mirrored is the operator after the operands changed places.
func mirrored(op string) string {
	switch op {
	case "lt":
		return "gt"
	case "lte":
		return "gte"
	case "gt":
		return "lt"
	case "gte":
		return "lte"
	}
	return op
}

// compare translates "a op b".
func (t *translator) compare(e *ast.Expr, op string, a, b *ast.Term) formula {
	if ast.IsConstant(a.Value) && !ast.IsConstant(b.Value) {
		a, b, op = b, a, mirrored(op)
	}
	if ast.IsConstant(b.Value) {
		if f := t.compareConstant(e, op, a, b.Value); f != nil {
			return f
		}
	}
	fa, aok := t.field(a.Value)
	fb, bok := t.field(b.Value)
	if aok && bok {
		return t.compareFields(e, op, fa, fb)
	}
	if f, ok := t.solve(ast.Body{positiveCopy(e)}); ok {
		return f
	}
	if name := nondeterministic(e); name != "" {
		return t.unknown(CodeTime, "the answer depends on "+name, e, e.Location)
	}
	if comprehends(e) {
		return t.unknown(CodeComprehension, "a comprehension over input has no kernel form", e, e.Location)
	}
	if c, ok := a.Value.(ast.Call); ok {
		return t.unknown(CodeBuiltin, "the kernel has no form of "+c[0].String(), e, e.Location)
	}
	if f, ok := t.except(ast.Body{positiveCopy(e)}); ok {
		return f
	}
	if f, ok := t.element(a.Value); ok {
		return t.unknown(CodeList, "this test of an element of input."+f.Path+" has no kernel form", e, e.Location)
	}
	return t.unknown(CodeUserField, "the operands are not a kernel field and a constant", e, e.Location)
}

// compareConstant returns nil if it does not know a.
func (t *translator) compareConstant(e *ast.Expr, op string, a *ast.Term, b ast.Value) formula {
	if ast.IsConstant(a.Value) {
		return constant(holdsFor(op, a.Value.Compare(b)))
	}
	if f, ok := t.field(a.Value); ok {
		return t.compareField(e, op, f, b)
	}
	if x, ok := t.text(a.Value); ok {
		return t.compareText(e, op, x, b)
	}
	if f, ok := t.element(a.Value); ok && f.Kind == event.KindPaths && op == "eq" {
		if s, ok := b.(ast.String); ok {
			return t.strings(e, ir.OpIn, f, string(s))
		}
		return constant(false)
	}
	if r, ok := a.Value.(ast.Ref); ok {
		if cs, ok := t.cases(r); ok {
			return where(cs, func(v ast.Value) bool { return holdsFor(op, v.Compare(b)) })
		}
	}
	if c, ok := a.Value.(ast.Call); ok {
		return t.compareCall(op, c, b)
	}
	return nil
}

// compareField: a field against a constant. Operands of different types compare
// by Rego's order of types, whatever the value.
func (t *translator) compareField(e *ast.Expr, op string, f event.Field, b ast.Value) formula {
	switch f.Kind {
	case event.KindString, event.KindPath, event.KindEnum, event.KindDigest:
		s, ok := b.(ast.String)
		switch {
		case !ok:
			return constant(holdsFor(op, ast.String("").Compare(b)))
		case op == "eq":
			return t.strings(e, ir.OpIn, f, string(s))
		case op == "neq":
			return neg(t.strings(e, ir.OpIn, f, string(s)))
		}
		return t.unknown(CodeOrder, "the kernel does not order strings", e, e.Location)
	case event.KindInt:
		n, ok := b.(ast.Number)
		if !ok {
			return constant(holdsFor(op, ast.Number("0").Compare(b)))
		}
		if !t.target.holds(f, ir.OpLess) {
			return t.notHeld(e, f)
		}
		if g := compareNumber(op, f, n); g != nil {
			return g
		}
		return t.unknown(CodeStatement, "the number is out of range", e, e.Location)
	}
	return t.unknown(CodeList, "input."+f.Path+" is compared as a whole", e, e.Location)
}

func (t *translator) notHeld(e *ast.Expr, f event.Field) formula {
	return t.unknown(CodeUserField, "the kernel does not hold input."+f.Path, e, e.Location)
}

// limit is one more than the largest number of a kernel field.
func limit() *big.Int { return new(big.Int).Lsh(big.NewInt(1), 63) }

// compareNumber folds constants that no kernel number can reach, and turns
// fractions into the whole number beside them.
func compareNumber(op string, f event.Field, n ast.Number) formula {
	if x, ok := n.Float64(); !ok || math.Abs(x) > 1e30 {
		return nil
	}
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		return nil
	}
	below := func(c *big.Int) formula { // x < c
		switch {
		case c.Sign() <= 0:
			return constant(false)
		case c.Cmp(limit()) >= 0:
			return constant(true)
		}
		return less(f, c.Uint64())
	}
	floor := new(big.Int).Div(r.Num(), r.Denom()) // Euclidean: rounds down, Denom > 0
	next := new(big.Int).Add(floor, big.NewInt(1))
	ceil := floor
	if !r.IsInt() {
		ceil = next
	}
	equal := func() formula {
		if !r.IsInt() || floor.Sign() < 0 || floor.Cmp(limit()) >= 0 {
			return constant(false)
		}
		return inNums(f, floor.Uint64())
	}
	switch op {
	case "eq":
		return equal()
	case "neq":
		return neg(equal())
	case "lt":
		return below(ceil)
	case "lte":
		return below(next)
	case "gt":
		return neg(below(next))
	}
	return neg(below(ceil))
}

func (t *translator) compareFields(e *ast.Expr, op string, a, b event.Field) formula {
	if a.Path == b.Path {
		return constant(holdsFor(op, 0))
	}
	if !t.target.holds(a, ir.OpSame) || !t.target.holds(b, ir.OpSame) || op != "eq" && op != "neq" {
		return t.unknown(CodeTwoFields, fmt.Sprintf("input.%s and input.%s are compared with each other", a.Path, b.Path), e, e.Location)
	}
	same := &atom{ir.Cond{Field: a.ID, Op: ir.OpSame, Other: b.ID}}
	if op == "neq" {
		return neg(same)
	}
	return same
}

// compareCall: a call against a constant. nil: no kernel form.
func (t *translator) compareCall(op string, c ast.Call, b ast.Value) formula {
	r, ok := c[0].Value.(ast.Ref)
	if !ok {
		return nil
	}
	if r.HasPrefix(ast.DefaultRootRef) {
		if cs, ok := t.cases(r, c[1:]...); ok {
			return where(cs, func(v ast.Value) bool { return holdsFor(op, v.Compare(b)) })
		}
		return nil
	}
	if r.String() == "object.get" {
		return t.compareGet(op, c, b)
	}
	n, ok := b.(ast.Number)
	if !ok {
		return nil
	}
	switch r.String() {
	case "bits.and":
		return t.compareBits(op, c, n)
	case "count":
		if f, ok := t.field(c[len(c)-1].Value); ok && t.target.holds(f, ir.OpLess) && f.Kind == event.KindList {
			return compareNumber(op, f, n)
		}
		return t.compareCount(op, c, n)
	}
	return nil
}

// compareBits: bits.and(field, mask) against a number.
func (t *translator) compareBits(op string, c ast.Call, n ast.Number) formula {
	if len(c) != 3 {
		return nil
	}
	x, m := c[1], c[2]
	if ast.IsConstant(x.Value) {
		x, m = m, x
	}
	f, ok := t.field(x.Value)
	mask, ok2 := m.Value.(ast.Number)
	if !ok || !ok2 || !t.target.holds(f, ir.OpMaskAny) || f.Kind != event.KindInt {
		return nil
	}
	mi, ok := mask.Int64()
	vi, ok2 := n.Int64()
	if !ok || !ok2 || mi < 0 {
		return nil
	}
	eq := func(v int64) formula {
		if v < 0 {
			return constant(false)
		}
		return maskEq(f, uint64(mi), uint64(v))
	}
	switch {
	case op == "eq":
		return eq(vi)
	case op == "neq":
		return neg(eq(vi))
	case op == "gt" && vi == 0, op == "gte" && vi == 1:
		return maskAny(f, uint64(mi))
	case op == "lte" && vi == 0, op == "lt" && vi == 1:
		return neg(maskAny(f, uint64(mi)))
	}
	return nil
}

// compareCount: whether a set of a generated helper, or a list of flags, is empty.
func (t *translator) compareCount(op string, c ast.Call, n ast.Number) formula {
	if len(c) != 2 {
		return nil
	}
	var some formula
	if r, ok := c[1].Value.(ast.Ref); ok && t.isSupportSet(t.support[r.String()]) {
		some = t.setHas(t.support[r.String()], nil)
	} else if f, ok := t.field(c[1].Value); ok && t.target.holds(f, ir.OpMaskAny) && f.Kind == event.KindFlags {
		some = maskAny(f, 1<<len(f.Bits)-1)
	} else {
		return nil
	}
	switch {
	case n == "0" && (op == "eq" || op == "lte"), n == "1" && op == "lt":
		return neg(some)
	case n == "0" && (op == "neq" || op == "gt"), n == "1" && op == "gte":
		return some
	}
	return nil
}

package lower

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/automaton"
	"example.com/bailiff/policy/ir"
)

// textRef is a text that the kernel looks at when the new image is in place:
// some argument, the argument at an index, or an environment variable.
type textRef struct {
	field event.Field
	at    int    // index + 1; 0: any argument
	name  string // of the variable
}

// text returns what a value refers to, if it is such a text.
func (t *translator) text(v ast.Value) (textRef, bool) {
	r, ok := v.(ast.Ref)
	if !ok || len(r) != 3 {
		return textRef{}, false
	}
	f, ok := t.field(r[:2])
	if !ok || f.Part != event.PartCommit {
		return textRef{}, false
	}
	switch key := r[2].Value.(type) {
	case ast.Var:
		return textRef{field: f}, f.Kind == event.KindList
	case ast.Number:
		n, ok := key.Int()
		return textRef{field: f, at: n + 1}, ok && n >= 0 && f.Kind == event.KindList
	case ast.String:
		return textRef{field: f, name: string(key)}, f.Kind == event.KindMap
	}
	return textRef{}, false
}

// one: there is at most one such text, so that "is not" is the opposite of "is"
// where there is one.
func (x *textRef) one() bool { return x.at > 0 || x.name != "" }

// textTest: the text, or one of the arguments, passes the test for one of the
// values.
func (t *translator) textIs(e *ast.Expr, op ir.Op, x textRef, vals ...string) formula {
	switch {
	case !slices.Contains(x.field.Hooks, t.hook):
		return constant(false) // there is none
	case !t.target.holds(x.field, op):
		return t.notHeld(e, x.field)
	case x.at > t.target.Limits.ArgIndex:
		return t.unknown(CodeText, fmt.Sprintf("the kernel can tell apart the first %d arguments", t.target.Limits.ArgIndex), e, e.Location)
	case x.field.Kind == event.KindMap && (x.name == "" || strings.ContainsAny(x.name, "=\x00")):
		return constant(false) // no variable has such a name
	case op != ir.OpIn && slices.Contains(vals, ""):
		op, vals = ir.OpPrefix, []string{""} // any text will do
	}
	vals = slices.DeleteFunc(vals, func(s string) bool { return strings.Contains(s, "\x00") }) // no text holds NUL
	slices.Sort(vals)
	vals = slices.Compact(vals)
	size := 0
	for _, s := range vals {
		size += len(s)
	}
	switch {
	case len(vals) == 0:
		return constant(false)
	case size > t.target.Limits.TextBytes:
		return t.unknown(CodeText, fmt.Sprintf("the values have more than %d bytes together", t.target.Limits.TextBytes), e, e.Location)
	}
	if x.name != "" {
		t.vars[x.name] = true
	}
	return &atom{ir.Cond{Field: x.field.ID, Op: op, Strs: vals, At: x.at, Var: x.name}}
}

// textMatches: the text, or one of the arguments, holds a match of a regular
// expression.
func (t *translator) textMatches(e *ast.Expr, x textRef, pattern string) formula {
	if err := t.triedPattern(pattern); err != nil {
		return t.unknown(CodeText, "the regular expression has no kernel form: "+err.Error(), e, e.Location)
	}
	return t.textIs(e, ir.OpRegex, x, pattern)
}

// Bounds of the regular expressions of a bundle that are tried. To find out that
// one is too much takes up to a tenth of a second; a kernel makes 60 tests.
const (
	maxPatterns = 256
	maxRefused  = 16
)

// triedPattern says why a regular expression has no automaton, nil if it has one.
func (l *lowerer) triedPattern(pattern string) error {
	err, known := l.patterns[pattern]
	switch {
	case known:
		return err
	case len(l.patterns) >= maxPatterns:
		return fmt.Errorf("the bundle has more than %d of them", maxPatterns)
	case l.refused >= maxRefused:
		return fmt.Errorf("%d before it in the bundle were too much: no more are tried", maxRefused)
	}
	if _, err = automaton.Regex([]string{pattern}, 1); err != nil {
		l.refused++
	}
	l.patterns[pattern] = err
	return err
}

// there: the text exists.
func (t *translator) there(e *ast.Expr, x textRef) formula {
	return t.textIs(e, ir.OpPrefix, x, "")
}

// compareText: a text against a constant.
func (t *translator) compareText(e *ast.Expr, op string, x textRef, b ast.Value) formula {
	s, ok := b.(ast.String)
	switch {
	case op != "eq" && op != "neq":
		return t.unknown(CodeOrder, "the kernel does not order strings", e, e.Location)
	case op == "eq" && !ok:
		return constant(false)
	case op == "eq":
		return t.textIs(e, ir.OpIn, x, string(s))
	case !ok:
		return t.there(e, x)
	case x.one():
		return conj(t.there(e, x), neg(t.textIs(e, ir.OpIn, x, string(s))))
	}
	return t.unknown(CodeText, "that some argument is not a certain one has no kernel form", e, e.Location)
}

// compareGet: object.get(input.env, "NAME", otherwise) against a constant.
func (t *translator) compareGet(op string, c ast.Call, b ast.Value) formula {
	if len(c) != 4 || op != "eq" && op != "neq" || !ast.IsConstant(c[3].Value) {
		return nil
	}
	f, ok := t.field(c[1].Value)
	name, isName := c[2].Value.(ast.String)
	if !ok || !isName || f.Kind != event.KindMap || f.Part != event.PartCommit || !t.target.holds(f, ir.OpIn) {
		return nil
	}
	if s, ok := b.(ast.String); ok && len(s) > t.target.Limits.TextBytes {
		return nil
	}
	x, e := textRef{field: f, name: string(name)}, new(ast.Expr)
	is := t.compareText(e, "eq", x, b)
	if c[3].Value.Compare(b) == 0 {
		is = disj(is, neg(t.there(e, x)))
	}
	if op == "neq" {
		return neg(is)
	}
	return is
}

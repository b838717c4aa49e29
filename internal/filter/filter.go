// Package filter is the one language in which people say which events they
// want: an expression in CEL over the fields of the event table. It is checked
// as a whole before the first event; what is wrong has a place and a hint.
package filter

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"

	"example.com/bailiff/internal/event"
)

// Bounds of an expression: a filter runs for every event, before anything else
// that its author asked for.
const (
	maxBytes = 4096
	maxCost  = 10000 // steps, as CEL counts them; a test of two fields costs about five
)

// Expression is a compiled filter. It may be used by many goroutines.
type Expression struct {
	text    string
	program cel.Program
}

// Error says what is wrong with an expression, and where.
type Error struct {
	Line, Column int // from 1
	Why, Hint    string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("filter:%d:%d: %s", e.Line, e.Column, e.Why)
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Compile reads an expression. The error is an *Error.
func Compile(text string) (*Expression, error) {
	if len(text) > maxBytes {
		return nil, &Error{Line: 1, Column: maxBytes + 1, Why: fmt.Sprintf("the expression has %d bytes, at most %d are read", len(text), maxBytes)}
	}
	options := []cel.EnvOption{cel.ParserRecursionLimit(64)}
	for _, f := range fields() {
		options = append(options, cel.Variable(f.name, f.kind))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("compile filter: %w", err)
	}
	ast, issues := env.Compile(text)
	if issues.Err() != nil {
		return nil, errorOf(issues.Errors()[0])
	}
	if ast.OutputType() != cel.BoolType {
		return nil, &Error{Line: 1, Column: 1, Why: fmt.Sprintf("the expression is of type %s", ast.OutputType()),
			Hint: "it must be true or false, as a comparison is"}
	}
	p, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, fmt.Errorf("compile filter: %w", err)
	}
	return &Expression{text: text, program: p}, nil
}

// String returns the expression as it was written.
func (x *Expression) String() string { return x.text }

// Match reports whether the expression holds for e. One that has no value for
// it (an environment variable that is not there, too many steps) does not.
func (x *Expression) Match(e *event.Event) bool {
	v, _, err := x.program.Eval(activation{e})
	return err == nil && v.Value() == true
}

// errorOf turns an error of the compiler into ours.
func errorOf(e *cel.Error) *Error {
	out := &Error{Line: max(1, e.Location.Line()), Column: max(1, e.Location.Column()+1), Why: e.Message}
	if rest, ok := strings.CutPrefix(e.Message, "undeclared reference to '"); ok {
		name, _, _ := strings.Cut(rest, "'")
		out.Why = fmt.Sprintf("there is no field or function %q", name)
		out.Hint = "docs/events.md lists the fields of filters"
		if near := nearest(name); near != "" {
			out.Hint = fmt.Sprintf("did you mean %s?", near)
		}
	}
	if strings.HasPrefix(e.Message, "found no matching overload") {
		out.Hint = "text is compared with text and numbers with numbers; a list is asked with \"x\" in list"
	}
	if strings.HasPrefix(e.Message, "Syntax error") {
		out.Why, _, _ = strings.Cut(e.Message, " expecting {") // a list of everything
		out.Hint = `an example: process.uid >= 1000 && file.path.startsWith("/tmp/")`
	}
	return out
}

// nearest returns the field whose name, or a part of it, is what was probably
// meant; "" if none is near.
func nearest(name string) string {
	best, least := "", len(name)/2+1
	for _, f := range fields() {
		last := f.name[strings.LastIndexByte(f.name, '.')+1:]
		for _, candidate := range []string{f.name, last} {
			if d := distance(name, candidate); d < least || d == least && candidate == name {
				best, least = f.name, d
			}
		}
	}
	return best
}

// distance is the number of letters to add, remove or change between a and b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

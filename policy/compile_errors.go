package policy

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
)

// at makes an error with its place and source line.
func (f *files) at(code string, l *ast.Location, why, hint string) *Error {
	e := &Error{Code: code, Why: why, Hint: hint}
	if l != nil {
		e.File, e.Line, e.Col = within(l.File), l.Row, l.Col
		e.Source = f.line(e.File, e.Line)
		e.Width = width(e.Source, e.Col, string(l.Text))
	}
	return e
}

// width is how much of a source line from a column on belongs to a text, which
// may go on in the next lines.
func width(source string, col int, text string) int {
	text, _, _ = strings.Cut(text, "\n")
	text = strings.TrimRight(text, " \t\r{")
	if col < 1 || col > len(source) || !strings.HasPrefix(source[col-1:], text) {
		return 0
	}
	return len(text)
}

// errors says what OPA found in our terms.
func (f *files) errors(list ast.Errors) Errors {
	var out Errors
	for _, e := range list {
		code, why, hint := explainCompile(e)
		if hint == "" {
			hint = usualHint(code, why)
		}
		at := f.at(code, e.Location, why, hint)
		at.narrow(e.Message)
		f.atEnd(at)
		out = append(out, at)
	}
	return out.sorted()
}

// about finds what a message of OPA's compiler names.
var about = regexp.MustCompile(`^(?:undefined ref: |(?:assigned |declared )?var |unused argument |undefined function )?((?:import )?[^\s]+?)\.?(?: is unsafe| unused|$)`)

// narrow moves the mark to what the message names, if it stands in the line as
// a word of its own.
func (e *Error) narrow(message string) {
	first, _, _ := strings.Cut(message, "\n")
	m := about.FindStringSubmatch(first)
	if m == nil || e.Col < 1 || e.Col > len(e.Source) {
		return
	}
	word, err := regexp.Compile(`(^|[^\w.])(` + regexp.QuoteMeta(m[1]) + `)($|[^\w])`)
	if err != nil {
		return
	}
	from := e.Col - 1
	if at := word.FindStringSubmatchIndex(e.Source[from:]); at != nil {
		e.Col, e.Width = from+at[4]+1, at[5]-at[4]
	}
}

// atEnd puts an error that lies behind the last line at the end of the last one
// that has something in it.
func (f *files) atEnd(e *Error) {
	for e.Source == "" && e.Line > 1 {
		e.Line--
		e.Source = f.line(e.File, e.Line)
		e.Col = len(e.Source) + 1
	}
}

// insteadOf says what to write instead of a built-in that policies must not have.
func insteadOf(builtin string) string {
	switch builtin {
	case "bits.lsh":
		return "write the number itself, or multiply by a power of two"
	case "strings.render_template":
		return "use sprintf"
	case "net.cidr_expand":
		return "use net.cidr_contains"
	case "rand.intn", "uuid.rfc4122":
		return "a policy must give the same answer each time it is asked"
	case "trace":
		return "leave it out"
	}
	return "put what it would fetch into data"
}

func explainCompile(e *ast.Error) (code, why, hint string) {
	if name, ok := strings.CutPrefix(e.Message, "undefined function "); ok {
		if why, no := forbidden[name]; no {
			return CodeBuiltin, fmt.Sprintf("%s is not available in policies: %s", name, why), insteadOf(name)
		}
		return CodeBuiltin, e.Message, nearestBuiltin(name)
	}
	if ref, ok := strings.CutPrefix(e.Message, "undefined ref: "); ok && strings.HasPrefix(ref, "input.") {
		path := strings.TrimPrefix(ref, "input.")
		return CodeType, "there is no field input." + path, nearest(path)
	}
	if e.Message == "match error" {
		why = "the two sides have types that are never equal"
		return CodeType, why, cmp.Or(typesOf(e), hintFor(e))
	}
	switch e.Code {
	case ast.ParseErr:
		code = CodeParse
	case ast.TypeErr:
		code = CodeType
	default:
		code = CodeCompile
	}
	if e.Details != nil && e.Code != ast.ParseErr {
		hint = typesOf(e)
	}
	if hint == "" {
		hint = hintFor(e)
	}
	return code, strings.TrimSpace(e.Message), hint
}

// usualHint says what helps against a kind of error, where OPA says nothing.
func usualHint(code, why string) string {
	has := func(s string) bool { return strings.Contains(why, s) }
	switch {
	case code == CodeParse:
		return "the mark shows where it stops being Rego: deny contains \"why\" if { ... }"
	case code == CodeBuiltin:
		return "the built-ins are OPA's (openpolicyagent.org/docs/policy-reference), without those that reach out or have no bounds"
	case code == CodeType:
		return "docs/input.md lists the fields with their types"
	case has("recursive"):
		return "a rule may not need its own answer: break the circle"
	case has("unsafe"):
		return "give the variable a value first: some x in ..., or x := ..."
	case has("unused"):
		return "leave it out, or use it"
	case has("conflict"):
		return "one name is one rule, or one place in data: rename one of them"
	}
	return "`opa check --strict` says the same; it may say more"
}

func typesOf(e *ast.Error) string {
	if e.Details == nil {
		return ""
	}
	var parts []string
	for _, l := range e.Details.Lines() {
		parts = append(parts, strings.Join(strings.Fields(strings.Replace(l, " :", ":", 1)), " "))
	}
	return strings.Join(parts, ", ")
}

// nearest names the field that is closest to a misspelt one.
func nearest(path string) string {
	best, cost := "", len(path)/2+1
	for _, f := range event.Fields {
		d := distance(path, f.Path)
		// "process.exe" or "file.path.x" is a field cut short or too long.
		if strings.HasPrefix(f.Path, path+".") || strings.HasPrefix(path, f.Path+".") {
			d = 1
		}
		if i := strings.LastIndexByte(f.Path, '.'); i >= 0 && f.Path[i+1:] == path[strings.LastIndexByte(path, '.')+1:] {
			d = min(d, 3)
		}
		if d < cost {
			best, cost = f.Path, d
		}
	}
	if best == "" {
		return "docs/input.md lists the fields"
	}
	return "did you mean input." + best + "?"
}

// distance is the number of edits between two strings.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := slices.Clone(row)
		row[0] = i + 1
		for j := range len(b) {
			swap := 1
			if a[i] == b[j] {
				swap = 0
			}
			row[j+1] = min(last[j]+swap, last[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

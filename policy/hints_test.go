package policy

import (
	"errors"
	"strings"
	"testing"
)

// TestErrorsPointAndHelp: the caret stands under what is wrong, all of it is
// underlined, and there is something to do about it.
func TestErrorsPointAndHelp(t *testing.T) {
	const head = "package bailiff.exec\n\n"
	for _, c := range []struct{ rego, code, marked, hint string }{
		{`deny contains "x" if input.file.pth == "/x"`, CodeType, "input.file.pth", "did you mean input.file.path?"},
		{`deny contains "x" if startwith(input.file.path, "/x")`, CodeBuiltin, `startwith`, "did you mean startswith?"},
		{`deny contains "x" if bits.lsh(1, input.process.uid) > 5`, CodeBuiltin, `bits.lsh`, "write the number itself, or multiply by a power of two"},
		{`deny contains "x" if http.send({"url": "x"})`, CodeBuiltin, `http.send`, "put what it would fetch into data"},
		{`deny contains "x" if input.process.uid == "root"`, CodeType, `input.process.uid == "root"`, "string"},
		{`deny contains "x" if not y == input.file.path`, CodeCompile, "y", "give y a value first"},
		{`deny contains "x" if { x := 1 }`, CodeCompile, "x", "remove x"},
		{`deny contains "x" if { input.file.path == "/x"`, CodeParse, "", "not closed"},
		{`deny["x"] { true }`, CodeParse, "", `deny contains "why" if`},
		{"import data.exceptions\ndeny contains \"x\" if input.file.path == \"/x\"", CodeCompile, "import data.exceptions", "remove the line"},
		{"p if q\nq if p\ndeny contains \"x\" if p", CodeCompile, "p if q", "cannot ask for itself"},
		{`deny if input.file.path == "/x"`, CodeShape, `deny if input.file.path == "/x"`, "contains"},
		{`deny contains "x" if startswith(input.file.path)`, CodeType, "", "want: (search: string"},
		{"deny contains \"é\" if input.file.nam == \"é\"", CodeType, "input.file.nam", "did you mean input.file.name?"},
	} {
		_, _, err := LoadFS(t.Context(), mapFS(map[string]string{"exec.rego": head + c.rego + "\n"}), Options{})
		var list Errors
		if !errors.As(err, &list) {
			t.Errorf("%s: %v", c.rego, err)
			continue
		}
		e := list[0]
		marked := ""
		if e.Width > 0 {
			marked = e.Source[e.Col-1 : e.Col-1+e.Width]
		}
		if e.Code != c.code || c.marked != "" && marked != c.marked || !strings.Contains(e.Hint, c.hint) || e.Line == 0 {
			t.Errorf("%s: %s marks %q, hint %q\n%+v", c.rego, e.Code, marked, e.Hint, *e)
		}
		var b strings.Builder
		if err := FormatErrors(&b, err); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "^") || !strings.Contains(b.String(), "hint: ") {
			t.Errorf("%s:\n%s", c.rego, b.String())
		}
		if c.marked != "" && !strings.Contains(b.String(), "^"+strings.Repeat("~", len([]rune(c.marked))-1)+"\n") {
			t.Errorf("%s:\n%s", c.rego, b.String())
		}
	}
}

// FuzzErrors: whatever is wrong with a module, the place is in it and there is a
// hint.
func FuzzErrors(f *testing.F) {
	for _, s := range []string{"package a\np if {", "package bailiff.exec\ndeny contains 1 if x", "# METADATA\n# custom: [\npackage x", "p := \"\\x\"", twoRules[:60]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, rego string) {
		_, _, err := LoadFS(t.Context(), mapFS(map[string]string{"exec.rego": rego}), Options{})
		var list Errors
		if err == nil || !errors.As(err, &list) {
			return
		}
		for _, e := range list {
			if e.Hint == "" {
				t.Errorf("%q: no hint: %v", rego, e)
			}
			if e.Width > 0 && e.Col-1+e.Width > len(e.Source) {
				t.Errorf("%q: marks beyond the line: %+v", rego, *e)
			}
		}
		var b strings.Builder
		_ = FormatErrors(&b, err)
	})
}

package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/lower"
)

// example is one part of a block in docs/lowering.md, begun by a comment such as
// "# would not: L019, prefiltered" or "# would: kernel (65 such rules)".
type example struct {
	raises string // the code; "" if it is the good form
	class  string // of each of its rules; "refused" if the bundle is
	rego   string
}

// TestLoweringDoc: under each code docs/lowering.md shows a rule that raises it,
// and nothing else, and one that does not; both are decided where it says.
func TestLoweringDoc(t *testing.T) {
	text := loweringDoc(t)
	data := exampleData(t)
	for _, code := range lower.Codes() {
		t.Run(string(code), func(t *testing.T) {
			about, block, ok := strings.Cut(section(text, "## "+string(code)), "```rego\n")
			block, _, closed := strings.Cut(block, "```")
			if !ok || !closed {
				t.Fatal("no example")
			}
			var would, wouldNot int
			for _, x := range examples(t, block) {
				if x.raises == "" {
					would++
				} else if wouldNot++; x.raises != string(code) {
					t.Errorf("%s below another code", x.raises)
				}
				x.check(t, string(code), about, data)
			}
			if would == 0 || wouldNot == 0 {
				t.Errorf("%d rules that would, %d that would not", would, wouldNot)
			}
		})
	}
}

func loweringDoc(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../docs/lowering.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// section is what stands below a heading, up to the next one; "" if there is
// none. A comment in an example (# METADATA) is no heading.
func section(page, heading string) string {
	_, rest, _ := strings.Cut(page, "\n"+heading+"\n")
	if at := regexp.MustCompile(`(?m)^(## |# [A-Z][a-z])`).FindStringIndex(rest); at != nil {
		rest = rest[:at[0]]
	}
	return rest
}

func examples(t *testing.T, block string) []example {
	t.Helper()
	mark := regexp.MustCompile(`(?m)^# would(?: not: (L\d+),|:) (\w+)(?: \((\d+) such rules\))?\n`)
	at := mark.FindAllStringSubmatchIndex(block, -1)
	if n := strings.Count(block, "# would"); n != len(at) || n == 0 || at[0][0] != 0 {
		t.Fatalf("%d of %d marks are understood, or the block does not begin with one", len(at), n)
	}
	var out []example
	for i, m := range at {
		end := len(block)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		x := example{class: block[m[4]:m[5]], rego: block[m[1]:end]}
		if m[2] >= 0 {
			x.raises = block[m[2]:m[3]]
		}
		if m[6] >= 0 {
			n, err := strconv.Atoi(block[m[6]:m[7]])
			if err != nil {
				t.Fatal(err)
			}
			x.rego = strings.Repeat(x.rego, n)
		}
		if !strings.HasPrefix(x.rego, "package ") {
			x.rego = "package bailiff.exec\n\n" + x.rego
		}
		out = append(out, x)
	}
	return out
}

// check loads the example; about is what the page says of the code.
func (x *example) check(t *testing.T, code, about string, data []byte) {
	t.Helper()
	ctx := context.Background()
	target := lower.DefaultTarget()
	if code == string(lower.CodeOnlyHeld) {
		target = target.Without(event.OnlyAtGate...)
	}
	p, r, err := LoadFS(ctx, fstest.MapFS{"x.rego": {Data: []byte(x.rego)}, "data.json": {Data: data}}, Options{Target: &target})
	var refused Errors
	if err != nil && !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if bad := x.raises != "" && strings.Contains(about, "*Error.*"); bad != (err != nil) || bad != (x.class == "refused") {
		t.Fatalf("is it an error? %v\n%s", err, x.rego)
	}
	if err != nil {
		x.onlyRaises(t, codesOf(refused))
		return
	}
	defer p.Close(ctx)
	if bad := x.raises != "" && strings.Contains(about, "*Warning"); bad != (len(r.Warnings) > 0) {
		t.Errorf("is it a warning? %v\n%s", r.Warnings, x.rego)
	}
	for _, e := range p.Explain() {
		if e.Class.String() != x.class {
			t.Errorf("%s is %s, not %s", e.Rule.ID, e.Class, x.class)
		}
		var reasons []string
		for _, d := range e.Reasons {
			reasons = append(reasons, string(d.Code))
		}
		if x.raises == "" && (e.Class == lower.ClassHeld || e.Class == lower.ClassPrefiltered) {
			// What OPA decides has its reasons, but not this one.
			reasons = slices.DeleteFunc(reasons, func(c string) bool { return c != code })
		}
		x.onlyRaises(t, reasons)
	}
}

func (x *example) onlyRaises(t *testing.T, codes []string) {
	t.Helper()
	slices.Sort(codes)
	if codes = slices.Compact(codes); strings.Join(codes, " ") != x.raises {
		t.Errorf("raises %v, not %q:\n%s", codes, x.raises, x.rego)
	}
}

func codesOf(errs Errors) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Code)
	}
	return out
}

// exampleData is the data that the examples read.
func exampleData(t *testing.T) []byte {
	t.Helper()
	owners, paths, list := map[string]int{}, map[string]bool{}, []string{}
	for i := range 1001 {
		path := fmt.Sprintf("/opt/%04d/program", i)
		if list, paths[path] = append(list, path), true; i < 64 {
			owners[path] = 1000 + i
		}
	}
	b, err := json.Marshal(map[string]any{"owners": owners, "list": list, "paths": paths, "frozen": true, "digests": map[string]bool{strings.Repeat("ab", 32): true}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLoweringCosts: each figure of the table of costs in docs/lowering.md stands
// in docs/performance.md, below the heading that the row links to.
func TestLoweringCosts(t *testing.T) {
	measured, err := os.ReadFile("../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile(`(?m)^\| ([^|]*) \| ([^|]*) \| \[(.*)\]\(performance\.md#(.*)\) \|$`).FindAllStringSubmatch(loweringDoc(t), -1)
	if len(rows) != 4 {
		t.Errorf("%d rows", len(rows))
	}
	for _, row := range rows {
		below := section(string(measured), "## "+row[3])
		if anchor := strings.ReplaceAll(strings.ToLower(row[3]), " ", "-"); anchor != row[4] || below == "" {
			t.Errorf("%s: no such heading in docs/performance.md", row[3])
		}
		for _, figure := range regexp.MustCompile(`\d[\d.,]*\d|\d`).FindAllString(row[2], -1) {
			if !regexp.MustCompile(`(^|[^\d.,])` + regexp.QuoteMeta(figure) + `([^\d]|$)`).MatchString(below) {
				t.Errorf("%s: %s is not in docs/performance.md", row[1], figure)
			}
		}
	}
}

package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestExplain compares the text with a golden file; the JSON form has the same
// rules.
func TestExplain(t *testing.T) {
	const file = "testdata/explain/classes.txtar"
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p, r, err := LoadFS(context.Background(), bundleFS(a), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Rules != 5 || r.Lowered != 2 {
		t.Errorf("%d rules, %d lowered", r.Rules, r.Lowered)
	}
	var text, one, js bytes.Buffer
	if err := Explain(&text, p, ExplainOptions{Clauses: true}); err != nil {
		t.Fatal(err)
	}
	golden(t, file, a, text.Bytes())
	if err := Explain(&one, p, ExplainOptions{Rule: "docker"}); err != nil || !strings.HasPrefix(one.String(), "deny  exec/rules.rego:14  docker") || strings.Contains(one.String(), "prefix") {
		t.Errorf("%s %v", one.String(), err)
	}
	if err := Explain(&js, p, ExplainOptions{JSON: true}); err != nil {
		t.Fatal(err)
	}
	var rules []struct {
		Class string
		Rule  struct{ ID string }
		Reads []string
	}
	if err := json.Unmarshal(js.Bytes(), &rules); err != nil || len(rules) != 5 {
		t.Fatal(err, js.String())
	}
	for _, r := range rules {
		if r.Rule.ID == "docker" && (r.Class != "commit" || len(r.Reads) > 0) {
			t.Errorf("%+v", r)
		}
	}
}

// TestLoadErrorsDocumented: docs/lowering.md names each code of a load error.
func TestLoadErrorsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/lowering.md")
	if err != nil {
		t.Fatal(err)
	}
	src, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range regexp.MustCompile(`"P\d+"`).FindAllString(string(src), -1) {
		if !strings.Contains(string(text), "| "+strings.Trim(code, `"`)+" |") {
			t.Errorf("%s is not documented", code)
		}
	}
}

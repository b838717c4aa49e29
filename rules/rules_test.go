package rules_test

import (
	"context"
	"os"
	"testing"

	"example.com/bailiff/policy"
	"example.com/bailiff/policy/lower"
	"example.com/bailiff/rules"
)

// TestRego runs the Rego tests that lie beside the rules.
func TestRego(t *testing.T) {
	results, err := policy.TestFS(context.Background(), rules.FS, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if !r.Pass {
			t.Errorf("%s:%d: %s.%s failed %s", r.File, r.Line, r.Package, r.Name, r.Error)
		}
	}
	if len(results) < 20 {
		t.Errorf("only %d tests ran", len(results))
	}
}

// TestLowered: each shipped rule is decided by the kernel alone, and says what
// a SIEM needs to know of it.
func TestLowered(t *testing.T) {
	p, r, err := policy.LoadFS(context.Background(), rules.FS, policy.Options{})
	if err != nil {
		_ = policy.FormatErrors(os.Stderr, err)
		t.Fatal(err)
	}
	for _, w := range r.Warnings {
		t.Error(w)
	}
	explained := p.Explain()
	if len(explained) != 6 || r.Revision != "baseline-1" {
		t.Errorf("%d rules, revision %s", len(explained), r.Revision)
	}
	for _, e := range explained {
		if e.Class != lower.ClassKernel {
			t.Errorf("%s is %s: %+v", e.Rule.ID, e.Class, e.Reasons)
		}
		if e.Rule.Title == "" || e.Rule.Severity == "" || len(e.Rule.Attack) == 0 {
			t.Errorf("%s lacks title, severity or technique", e.Rule.ID)
		}
	}
	if testing.Verbose() {
		_ = policy.Explain(os.Stdout, p, policy.ExplainOptions{Clauses: true})
	}
}

package rules_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy"
	"example.com/bailiff/policy/lower"
	"example.com/bailiff/rules"
)

// TestRego runs the Rego tests that lie beside the rules.
func TestRego(t *testing.T) {
	report, err := policy.TestFS(context.Background(), rules.FS, policy.TestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	results := report.Tests
	for _, r := range results {
		if !r.Pass {
			t.Errorf("%s:%d: %s.%s failed %s", r.File, r.Line, r.Package, r.Name, r.Error)
		}
	}
	for _, c := range report.Coverage.Rules {
		if c.Missed() > 0 {
			t.Errorf("%s:%d: %s has %d clauses that fire in no test (bailiff test --coverage shows them)", c.File, c.Line, c.Rule, c.Missed())
		}
	}
	if len(results) < 150 {
		t.Errorf("only %d tests ran", len(results))
	}
}

// TestPacks runs the Rego tests of the packs, and lowers each with the baseline.
func TestPacks(t *testing.T) {
	given := filepath.Join(t.TempDir(), "lockdown.json")
	if err := os.WriteFile(given, []byte(`{"programs": {"/usr/bin/true": "coreutils"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	want := map[string]lower.Class{"miner-pool-arguments": lower.ClassCommit}
	for _, name := range rules.Packs() {
		fsys, err := rules.Pack(name)
		if err != nil {
			t.Fatal(err)
		}
		tests := testPack(t, name, fsys)
		pack := policy.Pack{Name: name, FS: fsys}
		if name == "lockdown" {
			pack.File = given
		}
		p, r, err := policy.LoadFS(context.Background(), rules.FS, policy.Options{Packs: []policy.Pack{pack}})
		if err != nil {
			_ = policy.FormatErrors(os.Stderr, err)
			t.Fatal(err)
		}
		for _, w := range r.Warnings {
			t.Error(w)
		}
		n := 0
		for _, e := range p.Explain() {
			if !strings.HasPrefix(e.Rule.File, "packs/") {
				continue
			}
			n++
			if class, ok := want[e.Rule.ID]; ok && e.Class != class || !ok && e.Class != lower.ClassKernel {
				t.Errorf("%s is %s: %+v", e.Rule.ID, e.Class, e.Reasons)
			}
			if e.Rule.Title == "" || e.Rule.Severity == "" || len(e.Rule.Attack) == 0 {
				t.Errorf("%s lacks title, severity or technique", e.Rule.ID)
			}
		}
		if n == 0 || tests < 5 || !strings.HasPrefix(r.Revision, "baseline-2+"+name+"-") {
			t.Errorf("pack %s: %d rules, %d tests, revision %s", name, n, tests, r.Revision)
		}
	}
}

// testPack runs the tests of a pack where its files lie in a bundle.
func testPack(t *testing.T, name string, fsys fs.FS) int {
	t.Helper()
	placed := fstest.MapFS{}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(fsys, p)
		placed["packs/"+name+"/"+p] = &fstest.MapFile{Data: b}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	report, err := policy.TestFS(context.Background(), placed, policy.TestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Tests {
		if !r.Pass {
			t.Errorf("%s:%d: %s.%s failed %s", r.File, r.Line, r.Package, r.Name, r.Error)
		}
	}
	return len(report.Tests)
}

// atCommit are rules that the kernel decides when the new image is in place.
var atCommit = map[string]bool{"nc-exec-option": true, "preload-env": true}

// denies are the rules that block in enforce mode. Each name here is a promise
// that what a server does by itself does not set the rule off.
var denies = []string{
	"account-sudo-tamper", "agent-attach", "agent-tamper", "audit-log-wipe", "auth-stack-tamper", "container-escape-tools", "exec-memory-backed",
	"fork-limit", "kernel-escape-file", "loader-tamper", "module-load", "private-key-read", "raw-disk-write", "raw-memory-device",
	"shadow-read", "shell-on-socket", "suid-unlisted", "system-binary-tamper",
}

// TestLowered: each shipped rule is decided by the kernel alone, unless it says
// otherwise, and says what a SIEM needs to know of it.
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
	if len(explained) != 34 || r.Revision != "baseline-2" {
		t.Errorf("%d rules, revision %s", len(explained), r.Revision)
	}
	var deny []string
	for _, e := range explained {
		want := lower.ClassKernel
		if atCommit[e.Rule.ID] {
			want = lower.ClassCommit
		}
		if e.Class != want {
			t.Errorf("%s is %s: %+v", e.Rule.ID, e.Class, e.Reasons)
		}
		if e.Verdict == event.VerdictDeny {
			deny = append(deny, e.Rule.ID)
		}
		if e.Rule.Title == "" || e.Rule.Severity == "" || len(e.Rule.Attack) == 0 {
			t.Errorf("%s lacks title, severity or technique", e.Rule.ID)
		}
	}
	if slices.Sort(deny); !slices.Equal(deny, denies) {
		t.Errorf("deny rules are %v", deny)
	}
	if testing.Verbose() {
		_ = policy.Explain(os.Stdout, p, policy.ExplainOptions{Clauses: true})
	}
}

package main

import (
	"fmt"
	"os"
	"testing"
	"testing/fstest"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/lockout"
	"example.com/bailiff/policy"
)

// TestGuardDigests: a list of what may run is found to lock out those whose
// programs are not on it, and nobody else.
func TestGuardDigests(t *testing.T) {
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	acts := lockout.Acts(own)
	addDigests(acts)
	byPath := map[string]string{}
	for _, a := range acts {
		if a.Event.Hook == event.HookExec {
			byPath[a.Event.File.Path] = a.Event.File.SHA256
		}
	}
	if len(byPath) < 2 {
		t.Skip("this machine has too few of the programs that nobody can do without")
	}
	for path, sum := range byPath {
		p, _, err := policy.LoadFS(t.Context(), fstest.MapFS{"x.rego": {Data: fmt.Appendf(nil, "package bailiff.exec\n\ndeny contains \"unlisted\" if not input.file.sha256 in {%q}\n", sum)}}, policy.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !readDigests(p.Program()) {
			t.Fatal("the rule reads digests")
		}
		found, err := lockout.Check(t.Context(), p, acts, func(*event.RuleRef, string) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, f := range found {
			out[f.Act.Event.File.Path] = true
		}
		for other, theirs := range byPath {
			if out[other] != (theirs != sum) {
				t.Errorf("with %s on the list, %s is locked out: %v", path, other, out[other])
			}
		}
	}
}

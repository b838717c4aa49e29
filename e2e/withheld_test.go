package e2e

import (
	"slices"
	"strings"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// withheldPolicy would lock init out of its own shell, and has a rule that
// would not.
const withheldPolicy = `package bailiff.exec

# METADATA
# custom: {id: locks-out}
deny contains "no shell" if {
	input.process.exe.path == data.e2e.init
	input.file.path == data.e2e.init
}
`

// TestWithheld: told to enforce on the whole machine what would lock init out,
// the agent starts and audits; when the reason has gone it enforces by itself.
func TestWithheld(t *testing.T) {
	if !inGuest() {
		t.Skip("guests only: it is about the whole machine")
	}
	w := newWorld(t, backends(t)[0]) // the best: the guard knows no backends
	tg := w.denyTarget()
	w.policy(map[string]any{"init": "/bin/busybox", "secrets": []string{w.path("target")}, "vaults": []string{}, "readonly": []string{}},
		map[string]string{"open": openPolicy, "exec": withheldPolicy})
	cgroup := w.cgroup
	w.cgroup = nil // no scope
	w.startOnly(event.ModeEnforce)
	w.cgroup = cgroup

	withheld := func(st *harness.Status) bool {
		return slices.ContainsFunc(st.Conditions, func(c harness.Condition) bool {
			return c.Code == "enforce-withheld" && c.Severity == "high" && c.Remedy != "" && strings.Contains(c.Text, "rule locks-out")
		})
	}
	st, err := w.agent.Status(w.wait())
	w.must(err)
	if !withheld(st) || st.Mode != "audit" {
		t.Fatalf("mode %s, conditions %+v; want audit and enforce-withheld", st.Mode, st.Conditions)
	}
	if w.try(w.actor(), tg) {
		t.Error("something is denied")
	}
	_, err = w.agent.CLI(w.wait(), "mode", "audit", "--rule", "locks-out")
	w.must(err)
	st, err = w.agent.Status(w.wait())
	w.must(err)
	if withheld(st) || st.Mode != "enforce" {
		t.Errorf("mode %s, conditions %+v; want enforce", st.Mode, st.Conditions)
	}
	if !w.try(w.actor(), tg) {
		t.Error("nothing is denied")
	}
	w.stopOnly()
}

package e2e

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
)

// TestNativeUnit checks the systemd unit that is shipped: systemd understands
// it and finds it hardened, and the agent can work with the capabilities that
// it leaves, seen by its own canary and a denied exec.
func TestNativeUnit(t *testing.T) {
	if inGuest() {
		t.Skip("natively only: guests have no systemd")
	}
	backends(t)
	unit, err := os.ReadFile("../docs/packaging/bailiff.service")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, tracepoint)
	tg := w.denyTarget()
	for _, tool := range []string{"systemd-analyze", "setpriv"} {
		if _, err := exec.LookPath(tool); err != nil {
			skipLayer(t, "unit", tool+" is missing")
		}
	}
	p, err := build()
	w.must(err)
	file := w.path("bailiff.service")
	w.write(file, []byte(strings.ReplaceAll(string(unit), "/usr/bin/bailiff", p.bailiff)), 0o644)
	for _, args := range [][]string{{"verify", "--man=no", file}, {"security", "--offline=true", "--threshold=50", file}} {
		out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(strings.TrimSpace(string(out))) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}

	m := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.*)$`).FindStringSubmatch(string(unit))
	if m == nil {
		t.Fatal("the unit does not bound capabilities")
	}
	caps := "-all"
	for _, c := range strings.Fields(m[1]) {
		caps += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	wrapper := w.path("bailiff")
	w.write(wrapper, []byte("#!/bin/sh\n[ \"$1\" = run ] || exec "+p.bailiff+" \"$@\"\nexec setpriv --bounding-set="+caps+
		" --no-new-privs "+p.bailiff+" \"$@\"\n"), 0o755)
	w.binary = wrapper
	w.startOnly(event.ModeEnforce, "--canary-every", "1s", "--canary-within", "1s")
	eventually(t, "the canary comes through", func() bool {
		st, err := w.agent.Status(w.wait())
		w.must(err)
		return st.Canary.Stage == "done"
	})
	if !w.try(w.actor(), tg) {
		t.Error("nothing is denied with the capabilities of the unit")
	}
	w.stopOnly()
}

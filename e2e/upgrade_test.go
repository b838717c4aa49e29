package e2e

import (
	"os"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

// TestNativeUpgrade replaces the agent's file while it runs, as a package does:
// what the agent executes of itself from then on is the file in its place, not
// the unlinked one, which rules deny.
func TestNativeUpgrade(t *testing.T) {
	if inGuest() {
		t.Skip("natively only: nothing of it depends on the kernel")
	}
	backends(t)
	w := newWorld(t, tracepoint)
	w.policy(nil, map[string]string{"exec": `package bailiff.exec

# METADATA
# custom: {id: unlinked}
deny contains "it has no name" if input.file.nlink == 0
`})
	p, err := build()
	w.must(err)
	program, err := os.ReadFile(p.bailiff)
	w.must(err)
	w.binary = w.path("bin", "bailiff")
	w.write(w.binary, program, 0o755)
	w.start(event.ModeEnforce, "--canary-every", "1s", "--canary-within", "1s")
	w.write(w.binary, program, 0o755)
	begun := time.Now()
	e, err := w.stream.Until(w.wait(), func(e *event.Event) bool { return e.Hook == event.HookExec && e.Time.After(begun) })
	w.must(err)
	if e.Decision.Verdict == event.VerdictDeny {
		t.Errorf("the agent's own act is denied: %s %s", e.File.Path, e.Decision.Message)
	}
	if e.File.Path != w.binary {
		t.Errorf("the agent executed %s, not %s", e.File.Path, w.binary)
	}
	w.stopOnly()
}

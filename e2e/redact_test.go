package e2e

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// argPolicy reads arguments, and says what it has read.
const argPolicy = `package bailiff.exec

# METADATA
# custom: {id: e2e-secret, severity: low}
alert contains {"message": sprintf("ran with %v and %v", [input.args, input.env])} if {
	"--password=SECRET" in input.args
}
`

// TestNativeRedaction runs a program with secrets and looks for them wherever
// an event goes: the stream, and every byte of the spool. The rule that reads
// the secret must still have seen it.
func TestNativeRedaction(t *testing.T) {
	if inGuest() {
		t.Skip("natively only: nothing of it depends on the kernel")
	}
	backends(t)
	const secret, plain = "hunter2-not-to-be-kept", "in-plain-sight"
	w := newWorld(t, tracepoint)
	w.policy(map[string]any{}, map[string]string{"exec": strings.ReplaceAll(argPolicy, "SECRET", secret)})
	program, spool := w.path("app"), w.path("spool")
	w.must(harness.WriteProgram(program, harness.ExitProgram()))
	w.start(event.ModeAudit, "--spool", spool, "--env", "APP_TOKEN,APP_NAME")

	actor := w.actor()
	actor.Env = []string{"APP_TOKEN=" + secret, "APP_NAME=" + plain}
	o, err := actor.Exec(program, "--password="+secret, "--token", secret, "https://user:"+secret+"@example.com/", plain)
	w.must(err)
	events, err := w.stream.Of(w.wait(), o.PID)
	w.must(err)
	alerted := false
	for _, e := range events {
		if strings.Contains(show(e), secret) {
			t.Errorf("the stream has the secret: %s", show(e))
		}
		if e.Exec == nil || e.Decision.Rule == nil {
			continue
		}
		alerted = e.Decision.Verdict == event.VerdictAlert && strings.Contains(e.Decision.Message, plain)
		if got := strings.Join(e.Redacted, " "); got != "decision.message exec.args exec.env" {
			t.Errorf("marked as redacted: %q", got)
		}
	}
	if !alerted {
		t.Error("the rule that reads the secret did not see it")
	}
	w.stop()

	seen := false
	w.must(filepath.WalkDir(spool, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		if bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s has the secret", filepath.Base(name))
		}
		seen = seen || bytes.Contains(b, []byte(plain))
		return err
	}))
	if !seen {
		t.Error("the spool does not have the event, or not in a form in which a secret could be seen")
	}
}

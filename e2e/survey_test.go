package e2e

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"example.com/bailiff/internal/event"
)

const surveyPolicy = `package bailiff.open

# METADATA
# custom: {id: e2e-secret}
deny contains "secret" if {
	input.file.path == data.e2e.secret
	"read" in input.open.flags
}

# METADATA
# custom: {id: e2e-audit, mode: audit}
deny contains "for the record" if input.file.name == "audited"

# METADATA
# custom: {id: e2e-asked}
deny contains "OPA is asked" if {
	input.file.name == "asked"
	regex.match("ask.d$", input.file.path)
}
`

// TestSurvey shows that what is open already when enforcement starts is told, and
// what the rules would let be opened is not.
func TestSurvey(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		w := newWorld(t, backend)
		w.policy(map[string]any{"secret": w.path("secret")}, map[string]string{"open": surveyPolicy})
		reader := exec.Command("cat") // until its input ends
		w.cgroup.Put(reader)
		input, err := reader.StdinPipe()
		w.must(err)
		for _, name := range []string{"secret", "audited", "asked", "plain", "written"} {
			w.write(w.path(name), nil, 0o644)
			f, err := os.Open(w.path(name))
			w.must(err)
			defer f.Close()
			reader.ExtraFiles = append(reader.ExtraFiles, f, f)
		}
		writable, err := os.OpenFile(w.path("secret"), os.O_WRONLY|os.O_APPEND, 0)
		w.must(err)
		defer writable.Close()
		socket, err := net.ListenUnix("unix", &net.UnixAddr{Name: w.path("socket"), Net: "unix"})
		w.must(err)
		defer socket.Close()
		peer, err := socket.File()
		w.must(err)
		defer peer.Close()
		reader.ExtraFiles = append(reader.ExtraFiles, writable, peer)
		w.must(reader.Start())
		defer func() {
			w.must(input.Close())
			w.must(reader.Wait())
		}()

		w.start(event.ModeAudit)
		w.must(w.agent.SetMode(w.wait(), event.ModeEnforce))
		told := map[string]string{} // path -> rule
		done, err := w.stream.Until(w.wait(), func(e *event.Event) bool {
			if e.Agent != nil && e.Agent.Code == "already-open" && e.Agent.Fields["pid"] == strconv.Itoa(reader.Process.Pid) {
				told[e.Agent.Fields["path"]] = e.Agent.Fields["rule"] + " " + e.Agent.Fields["flags"]
			}
			return e.Agent != nil && e.Agent.Code == "open-survey"
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(told) != 2 || told[w.path("secret")] != "e2e-secret read" || told[w.path("asked")] != "e2e-asked read" {
			t.Errorf("told as open already: %v", told)
		}
		if f := done.Agent.Fields; f["refused"] != "2" || f["told"] != "2" || f["processes"] != "1" || f["unknown"] != "0" {
			t.Errorf("the survey says %v", f)
		}
		// What has been told is not told again when the policy changes.
		w.policy(map[string]any{"secret": w.path("secret"), "more": true}, map[string]string{"open": surveyPolicy})
		first := done.Seq
		done, err = w.stream.Until(w.wait(), func(e *event.Event) bool {
			if e.Agent == nil || e.Seq <= first {
				return false
			}
			if e.Agent.Code == "already-open" {
				t.Errorf("told again: %v", e.Agent.Fields)
			}
			return e.Agent.Code == "open-survey"
		})
		if err != nil {
			t.Fatal(err)
		}
		if f := done.Agent.Fields; f["refused"] != "2" || f["told"] != "0" {
			t.Errorf("the second survey says %v", f)
		}
		w.stop()
	})
}

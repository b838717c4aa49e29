package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/hostile"
)

// TestHostile gives the agent every bundle of the corpus. Each is refused with
// its code, a place and a hint; the policy that was in force decides before and
// after each of them, and afterwards a good bundle comes into force.
func TestHostile(t *testing.T) {
	if inGuest() {
		t.Skip("natively only: nothing of it depends on the kernel")
	}
	backends(t)
	s := hostile.NewSigner("k1", "prod")
	for _, signed := range []bool{false, true} {
		t.Run(map[bool]string{false: "unsigned", true: "signed"}[signed], func(t *testing.T) {
			w := newWorld(t, tracepoint)
			denied, archive := w.path("denied"), w.path("b.tar.gz")
			w.must(harness.WriteProgram(denied, harness.MarkerProgram("ran")))
			put := func(raw []byte) { w.write(archive, raw, 0o644) }
			pack := func(f hostile.Files) []byte {
				f = f.With("data.json", fmt.Sprintf(`{"programs": {%q: true}}`, denied))
				if signed {
					f = s.Sign(f)
				}
				return f.Pack()
			}
			put(pack(hostile.InForce()))
			w.bundle = archive
			config := w.path("config.yaml")
			w.write(config, []byte("policy:\n  limits:\n    compile_time: 10s\n    compile_memory: 536870912\n"), 0o644)
			args := []string{"--config", config, "--policy-state", w.path("state.tar")}
			if signed {
				key := w.path("k1.pub")
				w.write(key, []byte(s.Public()), 0o644)
				args = append(args, "--policy-key", "k1:ES256:"+key, "--policy-scope", s.Scope)
			}
			w.start(event.ModeEnforce, args...)
			inForce := func(revision string, generation uint32) {
				t.Helper()
				st, err := w.agent.Status(w.wait())
				if err != nil || st.Revision != revision || st.Generation != generation {
					t.Fatalf("got %+v, %v, want revision %s, generation %d", st, err, revision, generation)
				}
				o, err := w.actor().Exec(denied)
				if err != nil || o.Signal == 0 {
					t.Fatalf("a denied program: %v, %v", o, err)
				}
			}
			tried := 0
			place := regexp.MustCompile(`\S+(:\d+)*: P\d+ `)
			for _, c := range hostile.Cases(s) {
				if c.Signed != signed {
					continue
				}
				tried++
				put(c.Archive)
				_, err := w.agent.CLI(w.wait(), "reload")
				if err == nil || !strings.Contains(err.Error(), ": "+c.Code+" ") || !place.MatchString(err.Error()) {
					t.Errorf("%s: got %v, want a refusal with place and code %s", c.Name, err, c.Code)
				}
				inForce("r10", 1)
			}
			for _, e := range w.stream.All() {
				if e.Agent == nil || e.Agent.Code != "policy-refused" {
					continue
				}
				if r := e.Agent.Fields["reason"]; !strings.Contains(r, "hint: ") || e.Agent.Fields["in_force"] != "r10" {
					t.Errorf("a refusal without hint: %s", r)
				}
			}
			put(pack(hostile.Good("r12", 12)))
			eventually(t, "the good bundle is in force", func() bool {
				st, err := w.agent.Status(w.wait())
				return err == nil && st.Revision == "r12" && len(st.Conditions) == 0
			})
			t.Logf("%d bundles refused", tried)
			w.stop()

			// What is kept is the last good one: it starts without the archive.
			w.must(os.Remove(archive))
			w.must(os.MkdirAll(filepath.Dir(archive), 0o755))
			w.start(event.ModeEnforce, args...)
			inForce("r12", 1)
			w.stopOnly()
		})
	}
}

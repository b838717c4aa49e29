package e2e

import (
	"os"
	"strings"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

const mmapPolicy = `package bailiff.exec

# METADATA
# custom: {id: e2e-named}
deny contains "named" if input.file.path in data.e2e.named

# METADATA
# custom: {id: e2e-exec-only, hooks: [exec]}
deny contains "exec only" if input.file.name == "exec-only"

# METADATA
# custom: {id: e2e-mmap-only}
deny contains "mmap only" if {
	input.file.name == "mmap-only"
	input.hook == "mmap"
}

# METADATA
# custom: {id: e2e-list}
deny contains "not on the list" if {
	input.process.euid == 4242
	not input.file.name in {"harness", "prog"}
}
`

// TestMmap shows that the rules on exec refuse to map a file executable where
// they name it, by whatever name and call it is mapped, and that they leave alone
// what they only do not list: else every library would be denied.
func TestMmap(t *testing.T) {
	refusing(t, testMappings)
}

func testMappings(t *testing.T, backend string, mode event.Mode) {
	w := newWorld(t, backend)
	for _, name := range []string{"named", "exec-only", "mmap-only", "other"} {
		w.write(w.path(name), harness.MarkerProgram("/dev/null"), 0o755)
	}
	w.must(os.Link(w.path("named"), w.path("linked")))
	w.must(harness.WriteProgram(w.path("interpreted"), harness.InterpretedProgram(w.path("named"))))
	w.policy(map[string]any{"named": []string{w.path("named")}}, map[string]string{"exec": mmapPolicy})
	w.start(mode)
	for _, tt := range []struct {
		name, rule string
		hook       event.Hook // of the denial
		dies       bool       // past the point of no return: there is nobody to tell
		steps      [][]string
	}{
		{name: "mapped", rule: "e2e-named", hook: event.HookMmap, steps: steps([]string{"map", w.path("named"), "x"})},
		{name: "made executable", rule: "e2e-named", hook: event.HookMmap, steps: steps([]string{"map", w.path("named"), "rx"})},
		{name: "hard link", rule: "e2e-named", hook: event.HookMmap, steps: steps([]string{"map", w.path("linked"), "x"})},
		{name: "bind mount", rule: "e2e-named", hook: event.HookMmap,
			steps: steps([]string{"unshare"}, []string{"bind", w.path("named"), w.path("other")}, []string{"map", w.path("other"), "x"})},
		{name: "ELF interpreter", rule: "e2e-named", hook: event.HookMmap, dies: true, steps: steps([]string{"exec", w.path("interpreted")})},
		{name: "executed", rule: "e2e-named", hook: event.HookExec, steps: steps([]string{"exec", w.path("named")})},
		{name: "read", steps: steps([]string{"map", w.path("named"), "r"})},
		{name: "another file", steps: steps([]string{"map", w.path("other"), "x"}, []string{"map", w.path("other"), "rx"})},
		{name: "no file", steps: steps([]string{"mapanon"})},
		{name: "rule on exec only", steps: steps([]string{"map", w.path("exec-only"), "x"})},
		{name: "rule on mappings only", rule: "e2e-mmap-only", hook: event.HookMmap, steps: steps([]string{"map", w.path("mmap-only"), "x"})},
		{name: "rule on mappings and exec", steps: steps([]string{"exec", w.path("mmap-only")})},
		{name: "not on a list", steps: steps([]string{"setuid", "4242"}, []string{"map", w.path("other"), "x"})},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			w := w.in(t)
			o, events := w.do(w.actor(), tt.steps...)
			want, effect := promised(tt.rule, mode)
			if tt.dies && effect == event.EffectRefused {
				if o.Signal == 0 {
					t.Errorf("got %v, want a signal", o)
				}
			} else if o.Last() != want {
				t.Errorf("got %v, want errno %d", o, want)
			}
			if tt.rule == "" {
				if e := anyDenial(events); e != nil {
					t.Errorf("denied on record: %s", show(e))
				}
				return
			}
			found := denials(events, tt.hook, tt.rule)
			if len(found) != 1 {
				t.Fatalf("%d events of the denial among %d", len(found), len(events))
			}
			if d := found[0].Decision; d.Effect != effect || d.Mode != mode || found[0].File.Path != w.path("named") && tt.rule == "e2e-named" {
				t.Errorf("event is %s, want effect %v in mode %v", show(found[0]), effect, mode)
			}
		})
	}
	w.stop()
}

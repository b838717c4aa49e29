package e2e

import (
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
)

const receivePolicy = `package bailiff.open

# METADATA
# custom: {id: e2e-secret}
deny contains "secret" if {
	input.process.euid == 4242
	input.file.path == data.e2e.secret
	"read" in input.open.flags
}

# METADATA
# custom: {id: e2e-elsewhere}
deny contains "not below the directory" if {
	input.process.euid == 4243
	not startswith(input.file.path, data.e2e.dir)
}

# METADATA
# custom: {id: e2e-open-only, hooks: [open]}
deny contains "open only" if {
	input.process.euid == 4242
	input.file.name == "open-only"
}
`

// TestReceive shows that a file which a process may not open is not given to it by
// another one either, and that what no open leads to is no file to the rules.
func TestReceive(t *testing.T) {
	refusing(t, testReceiving)
}

func testReceiving(t *testing.T, backend string, mode event.Mode) {
	w := newWorld(t, backend)
	for _, name := range []string{"secret", "plain", "open-only"} {
		w.write(w.path(name), []byte("content"), 0o644)
	}
	w.policy(map[string]any{"secret": w.path("secret"), "dir": w.path() + "/"}, map[string]string{"open": receivePolicy})
	w.start(mode)
	for _, tt := range []struct {
		name, rule       string
		what, how, owner string
	}{
		{"for reading", "e2e-secret", w.path("secret"), "r", "4242"},
		{"by pidfd_getfd", "e2e-secret", w.path("secret"), "getfd", "4242"},
		{"outside of a directory", "e2e-elsewhere", "/usr/bin/bailiff", "r", "4243"},
		{"for writing", "", w.path("secret"), "w", "4242"},
		{"another user", "", w.path("secret"), "r", "4244"},
		{"another file", "", w.path("plain"), "r", "4242"},
		{"socket", "", "", "socket", "4243"},
		{"memory", "", "", "memory", "4243"},
		{"rule on opens only", "", w.path("open-only"), "r", "4242"},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			w := w.in(t)
			o, events := w.do(w.actor(), []string{"receive", tt.what, tt.how, tt.owner})
			want, effect := promised(tt.rule, mode)
			if o.Last() != want {
				t.Errorf("got %v, want errno %d", o, want)
			}
			if tt.rule == "" {
				for _, e := range events {
					if e.Hook == event.HookReceive && e.Decision.Verdict == event.VerdictDeny {
						t.Errorf("denied on record: %s", show(e))
					}
				}
				return
			}
			found := denials(events, event.HookReceive, tt.rule)
			if len(found) != 1 {
				t.Fatalf("%d events of the denial among %v", len(found), findings(events))
			}
			if e := found[0]; e.Decision.Effect != effect || e.Decision.Mode != mode || e.File.Path != tt.what || strings.Join(e.Open, ",") != "read" {
				t.Errorf("event is %s, want effect %v in mode %v", show(e), effect, mode)
			}
		})
	}
	w.stop()
}

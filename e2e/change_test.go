package e2e

import (
	"os"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
)

const changePolicy = `package bailiff.open

# METADATA
# custom: {id: e2e-file}
deny contains "file" if {
	input.file.path in data.e2e.files
	"write" in input.open.flags
}

# METADATA
# custom: {id: e2e-below}
deny contains "below" if {
	startswith(input.file.path, data.e2e.vault)
	"write" in input.open.flags
}

# METADATA
# custom: {id: e2e-name}
deny contains "name" if {
	input.file.name == "authorized"
	"write" in input.open.flags
}

# METADATA
# custom: {id: e2e-open-only}
deny contains "open only" if {
	input.file.name == "open-only"
	input.hook == "open"
}

# METADATA
# custom: {id: e2e-unlink, hooks: [unlink]}
deny contains "unlink" if input.file.name == "unlink-only"
`

// TestChange shows that rules that deny to open a file for writing also deny to
// change it, or what its name stands for, without an open.
func TestChange(t *testing.T) {
	refusing(t, testChanges)
}

func testChanges(t *testing.T, backend string, mode event.Mode) {
	w := newWorld(t, backend)
	in := func(name string) string { return w.path(name) }
	for _, name := range []string{"evil", "plain", "linkable", "open-only", "unlink-only", "vault/file", "a/authorized"} {
		w.write(in(name), []byte("content"), 0o644)
	}
	var files []string
	named := func(name string) string { // one that is there
		w.write(in(name), []byte("content"), 0o644)
		files = append(files, in(name))
		return in(name)
	}
	missing := func(name string) string {
		files = append(files, in(name))
		return in(name)
	}
	steps := func(s ...string) [][]string { return [][]string{s} }
	all := []struct {
		name, rule string
		hook       event.Hook
		file       string // of the event
		steps      [][]string
	}{
		{"moved over", "e2e-file", event.HookRename, "f1", steps("rename", in("evil"), named("f1"))},
		{"moved to where nothing is", "e2e-file", event.HookRename, "f2", steps("rename", in("plain"), missing("f2"))},
		{"moved away", "e2e-file", event.HookRename, "f3", steps("rename", named("f3"), in("away"))},
		{"exchanged", "e2e-file", event.HookRename, "f4", steps("swap", in("evil"), named("f4"))},
		{"removed", "e2e-file", event.HookUnlink, "f5", steps("unlink", named("f5"))},
		{"truncated", "e2e-file", event.HookTruncate, "f6", steps("cut", named("f6"))},
		{"linked", "e2e-file", event.HookLink, "f7", steps("link", named("f7"), in("other"))},
		{"linked into place", "e2e-file", event.HookLink, "f8", steps("link", in("linkable"), missing("f8"))},
		{"symlink into place", "e2e-file", event.HookCreate, "f9", steps("symlink", "/etc/passwd", missing("f9"))},
		{"node into place", "e2e-file", event.HookCreate, "f10", steps("mknod", missing("f10"))},
		{"linked out of a directory", "e2e-below", event.HookLink, "vault/file", steps("link", in("vault/file"), in("out"))},
		{"moved into a directory", "e2e-below", event.HookRename, "vault/new", steps("rename", in("evil"), in("vault/new"))},
		{"by its name", "e2e-name", event.HookUnlink, "a/authorized", steps("unlink", in("a/authorized"))},
		{"rule on one change", "e2e-unlink", event.HookUnlink, "unlink-only", steps("unlink", in("unlink-only"))},
		{"rule on opens only", "", 0, "", steps("rename", in("open-only"), in("open-only2"))},
		{"nothing that rules name", "", 0, "", [][]string{{"symlink", "x", in("s")}, {"mknod", in("n")}, {"link", in("n"), in("n2")},
			{"rename", in("n2"), in("n3")}, {"unlink", in("n3")}, {"unlink", in("s")}}},
	}
	w.policy(map[string]any{"files": files, "vault": in("vault") + "/"}, map[string]string{"open": changePolicy})
	w.start(mode)
	for _, tt := range all {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			w := w.in(t)
			if mode == event.ModeAudit && tt.rule != "" {
				// What passes leaves nothing to act on for the others.
				w.must(os.WriteFile(in("evil"), nil, 0o644))
			}
			o, events := w.do(w.actor(), tt.steps...)
			want, effect := promised(tt.rule, mode)
			if o.Last() != want {
				t.Errorf("got %v, want errno %d", o, want)
			}
			if tt.rule == "" {
				if e := anyDenial(events); e != nil {
					t.Errorf("denied on record: %s", show(e))
				}
				return
			}
			for _, e := range denials(events, tt.hook, tt.rule) {
				if e.File.Path == in(tt.file) && e.Decision.Effect == effect && e.Decision.Mode == mode {
					return
				}
			}
			t.Errorf("no event of the denial with effect %v: %v", effect, findings(events))
		})
	}
	w.stop()
}

package policy

import (
	"context"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/rules"
)

// TestExceptionsAreTried: what is proposed for the baseline is the entry that a
// person would have written, and it does what it says.
func TestExceptionsAreTried(t *testing.T) {
	p, _, err := LoadFS(context.Background(), rules.FS, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	for _, c := range []struct {
		rule, data string
		value      any
		e          event.Event
	}{
		{"shadow-read", "exceptions.shadow_read.exe", "/usr/bin/restic", event.Event{Hook: event.HookOpen, Open: []string{"read"},
			Process: event.Process{Exe: event.File{Path: "/usr/bin/restic"}}, File: &event.File{Path: "/etc/shadow"}}},
		{"exec-memory-backed", "exceptions.exec_memory_backed.exe", "/opt/x", event.Event{Hook: event.HookExec,
			Process: event.Process{Exe: event.File{Path: "/opt/x"}}, File: &event.File{Path: "[0:1]/memfd", Traits: []string{"memory_backed"}}}},
		{"web-spawns-shell", "exceptions.web_spawns_shell.file", "/usr/bin/dash", event.Event{Hook: event.HookExec,
			Process: event.Process{Exe: event.File{Path: "/usr/sbin/nginx"}}, File: &event.File{Path: "/usr/bin/dash"}}},
	} {
		d, err := p.Decide(t.Context(), &c.e)
		if err != nil || d.Rule == nil {
			t.Fatalf("%s: %+v, %v", c.rule, d, err)
		}
		got, err := p.Exceptions(t.Context(), c.rule, &c.e)
		if err != nil || len(got) == 0 || got[0].Data != c.data || got[0].Value != c.value {
			t.Errorf("%s: got %+v, %v", c.rule, got, err)
			continue
		}
		for _, x := range got {
			if ok, err := p.Silenced(t.Context(), c.rule, &c.e, x); !ok || err != nil {
				t.Errorf("%s: %+v does not silence it: %v", c.rule, x, err)
			}
			if x.Data == "exceptions.shadow_read.lookup" {
				t.Errorf("%s: %+v makes another rule fire", c.rule, x)
			}
		}
		doc, err := p.ExceptionsDocument(got[:1])
		if err != nil {
			t.Fatal(err)
		}
		if doc["shadow_read"] == nil || doc["suid_unlisted"] == nil {
			t.Errorf("the document has lost entries: %v", doc)
		}
	}
}

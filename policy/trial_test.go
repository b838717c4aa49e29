package policy

import (
	"context"
	"testing"

	"example.com/bailiff/internal/event"
)

func TestTrySaysWhatHeld(t *testing.T) {
	p, _, err := LoadFS(context.Background(), mapFS(map[string]string{"exec.rego": twoRules}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	for _, c := range []struct {
		name    string
		e       event.Event
		rule    string
		fires   bool
		kernel  string
		held    []string
		verdict event.Verdict
		tables  string
	}{
		{"from /tmp", event.Event{Process: event.Process{UID: 1000}, File: &event.File{Path: "/dev/shm/x"}}, "from-tmp", true, "holds", []string{"yes", "yes", "yes"}, event.VerdictDeny, "deny"},
		{"by root", event.Event{File: &event.File{Path: "/tmp/x"}}, "from-tmp", false, "fails", []string{"yes", "yes", "no"}, event.VerdictAllow, "allow"},
		{"from elsewhere", event.Event{File: &event.File{Path: "/usr/bin/id"}}, "from-tmp", false, "fails", []string{"yes", "no", "not-reached"}, event.VerdictAllow, "allow"},
		{"nc -e", event.Event{File: &event.File{Path: "/usr/bin/nc"}, Exec: &event.Exec{Args: []string{"nc", "-e"}}}, "with-e", true, "undecided", []string{"yes", "yes"}, event.VerdictAlert, "undecided"},
		{"nc", event.Event{File: &event.File{Path: "/usr/bin/nc"}, Exec: &event.Exec{Args: []string{"nc"}}}, "with-e", false, "undecided", []string{"yes", "no"}, event.VerdictAllow, "undecided"},
	} {
		c.e.Hook = event.HookExec
		got, err := p.Try(t.Context(), &c.e)
		if err != nil {
			t.Fatal(err)
		}
		if got.Verdict != c.verdict || got.Kernel != c.tables {
			t.Errorf("%s: %s, kernel %s", c.name, got.Verdict, got.Kernel)
		}
		for _, r := range got.Rules {
			if r.Rule.ID != c.rule {
				continue
			}
			var held []string
			for _, s := range r.Body {
				held = append(held, s.Held)
			}
			same := len(held) == len(c.held)
			for i := range held {
				same = same && held[i] == c.held[i]
			}
			if r.Fires != c.fires || r.Kernel != c.kernel || !same {
				t.Errorf("%s: fires %v, kernel %s, %+v", c.name, r.Fires, r.Kernel, r.Body)
			}
		}
	}
}

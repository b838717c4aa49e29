package filter

import (
	"errors"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
)

func sample() *event.Event {
	return &event.Event{
		Seq: 7, Hook: event.HookExec,
		Process: event.Process{PID: 12, UID: 1000, LoginUID: 4294967295, CapEff: 1 << 21, Exe: event.File{Path: "/usr/bin/bash"},
			Parent: event.File{Path: "/usr/sbin/nginx"}, Ancestry: []string{"/usr/sbin/nginx", "/sbin/init"}, Cgroup: "/system.slice/nginx.service"},
		File: &event.File{Path: "/tmp/x", Names: []string{"/tmp/x", "/private/x"}, Mode: 0o104755, Traits: []string{"setuid"}},
		Exec: &event.Exec{Args: []string{"x", "-c", "id"}, Env: map[string]string{"LD_PRELOAD": "/tmp/a.so"}},
		Decision: event.Decision{Verdict: event.VerdictDeny, Effect: event.EffectKilled,
			Rule: &event.RuleRef{ID: "tmp-exec", Severity: "high", Attack: []string{"T1059"}}, Others: []event.RuleRef{{ID: "web-shell"}}},
	}
}

func TestMatch(t *testing.T) {
	e := sample()
	for text, want := range map[string]bool{
		`process.uid >= 1000 && file.path.startsWith("/tmp/")`:               true,
		`process.uid < 1000 || hook == "open"`:                               false,
		`"SYS_ADMIN" in process.caps && !("NET_RAW" in process.caps)`:        true,
		`"/sbin/init" in process.ancestors`:                                  true,
		`process.ancestors.exists(a, a.endsWith("/nginx"))`:                  true,
		`file.names.exists(n, n.startsWith("/private/"))`:                    true,
		`"setuid" in file.traits && file.name == "x"`:                        true,
		`args.size() == 3 && args[1] == "-c"`:                                true,
		`args[9] == "x"`:                                                     false, // no value: does not hold
		`env["LD_PRELOAD"].contains("/tmp/")`:                                true,
		`env["PATH"] == ""`:                                                  false,
		`"PATH" in env`:                                                      false,
		`process.cgroup.path.matches("^/system[.]slice/nginx")`:              true,
		`verdict == "deny" && effect == "killed" && rule.id == "tmp-exec"`:   true,
		`"web-shell" in rules && "T1059" in rule.attack`:                     true,
		`rule.severity in ["high", "critical"]`:                              true,
		`process.loginuid == 4294967295`:                                     true,
		`open.flags.size() == 0 && fork.pid == 0 && exit.code == 0 && !late`: true,
		`process.exe.name == "bash" && process.parent.exe.path.size() > 3`:   true,
		`true`: true,
		`args.all(a, args.all(b, args.all(c, args.all(d, args.all(f, true)))))`: true,
	} {
		x, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := x.Match(e); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// TestEmpty: an event without any part has zero values, never a panic.
func TestEmpty(t *testing.T) {
	for _, f := range fields() {
		x, err := Compile(f.name + " == " + f.name)
		if err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		if !x.Match(&event.Event{}) || !x.Match(sample()) {
			t.Errorf("%s has no value", f.name)
		}
	}
}

// TestEveryFieldCanBeNamed fails when a field is added to the event table and
// filters do not know it: it needs a line in values.go.
func TestEveryFieldCanBeNamed(t *testing.T) {
	for _, f := range event.Fields {
		if values()[f.Path] == nil {
			t.Errorf("filters do not know %s", f.Path)
		}
	}
	for _, f := range fields() {
		if values()[f.name] == nil {
			t.Errorf("%s has no value", f.name)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]struct {
		line, column int
		says         string
	}{
		`process.uuid >= 1000`:                 {1, 8, "did you mean process.uid?"},
		"hook == \"exec\" &&\n  file.pth == 1": {2, 7, "did you mean file.path?"},
		`file.path >= 3`:                       {1, 11, "text is compared with text"},
		`file.path.startsWith("/tmp"`:          {1, 28, "an example"},
		`file.path`:                            {1, 1, "must be true or false"},
		``:                                     {1, 1, ""},
		`frobnicate(3)`:                        {1, 11, "no field or function"},
		strings.Repeat("!", 5000):              {1, 4097, "at most 4096"},
	} {
		_, err := Compile(text)
		var e *Error
		if !errors.As(err, &e) || e.Line != want.line || !strings.Contains(e.Error(), want.says) {
			t.Errorf("%.40q: %v", text, err)
			continue
		}
		if e.Column != want.column {
			t.Errorf("%.40q: column %d, want %d: %v", text, e.Column, want.column, err)
		}
	}
}

// TestCostIsBounded: an expression that takes too long for an event does not
// hold, and does not take long.
func TestCostIsBounded(t *testing.T) {
	e := sample()
	for range 10 {
		e.Exec.Args = append(e.Exec.Args, e.Exec.Args...)
	}
	x, err := Compile(`args.all(a, args.all(b, args.all(c, args.all(d, a + b + c + d != ""))))`)
	if err != nil {
		t.Fatal(err)
	}
	if x.Match(e) {
		t.Error("it was evaluated to its end")
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`process.uid >= 1000 && file.path.startsWith("/tmp/")`)
	f.Add(`args.exists(a, a.matches("^-"))`)
	f.Add("\"\xff")
	e := sample()
	f.Fuzz(func(t *testing.T, text string) {
		x, err := Compile(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		x.Match(e)
		x.Match(&event.Event{})
	})
}

func BenchmarkMatch(b *testing.B) {
	x, err := Compile(`process.uid >= 1000 && file.path.startsWith("/tmp/")`)
	if err != nil {
		b.Fatal(err)
	}
	e := sample()
	b.ReportAllocs()
	for b.Loop() {
		x.Match(e)
	}
}

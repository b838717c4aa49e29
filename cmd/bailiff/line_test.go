package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// hostile are names that try to be something else.
func hostile() []string {
	return []string{
		"\n19:00:00.000  DENY        exec        1 /sbin/init → /bin/sh  forged killed",
		"x  -  exec        1 /a → /b", "a → b", "a b", " ", "", `"`, `"" → x`, `\`, `\n`, "\\x0a", "\r", "\t", "\x00", "\x7f",
		"\x1b[2J\x1b]0;title\x07", "\u009b31m", "\u0085", "\u2028", "\u2029", "\u202egpj.exe", "\u200b", "\ufeff", "\u00a0", "\u3000",
		"\xff", "\xc3", "\xed\xa0\x80", "\xf4\x90\x80\x80", "caf\xc3\xa9\xff", "\ufffd", "é", "日本語", "😀", "\U000e0041", "$ x", "-", "?",
		"status:0", `{"seq":1}`, `","decision":{"verdict":"allow"},"x":"`,
	}
}

// TestLinesCannotBeForged puts each hostile text into each place that an
// attacker writes: the line stays one, keeps its columns, has nothing in it
// that acts on a terminal, and differs from that of any other text.
func TestLinesCannotBeForged(t *testing.T) {
	places := map[string]func(e *event.Event, s string){
		"exe":    func(e *event.Event, s string) { e.Process.Exe.Path = "/" + s },
		"file":   func(e *event.Event, s string) { e.File.Path = "/" + s },
		"arg":    func(e *event.Event, s string) { e.Exec.Args[1] = s },
		"script": func(e *event.Event, s string) { e.Exec.Script = "/" + s },
		"rule":   func(e *event.Event, s string) { e.Decision.Rule.ID = "r" + s },
		"failed": func(e *event.Event, s string) { e.Decision.FailOpen = "r" + s },
		"notice": func(e *event.Event, s string) {
			e.Agent = &event.Notice{Code: "c" + s, Text: "t" + s, Fields: map[string]string{"k" + s: s}}
		},
	}
	for place, put := range places {
		seen := map[string]string{}
		for _, s := range hostile() {
			e := &event.Event{Time: time.Unix(0, 0), Hook: event.HookExec, Process: event.Process{PID: 7, Exe: event.File{Path: "/bin/sh"}},
				File: &event.File{Path: "/bin/id"}, Exec: &event.Exec{Args: []string{"a", "b", "c"}},
				Decision: event.Decision{Verdict: event.VerdictDeny, Rule: &event.RuleRef{ID: "r"}}}
			put(e, s)
			got := line(e, paint{})
			for _, r := range got {
				if !unicode.IsPrint(r) {
					t.Errorf("%s %q: %q has %q", place, s, got, r)
				}
			}
			if !utf8.ValidString(got) {
				t.Errorf("%s %q: %q is not UTF-8", place, s, got)
			}
			if other, ok := seen[got]; ok {
				t.Errorf("%s: %q and %q look alike: %s", place, s, other, got)
			}
			seen[got] = s
			if e.Agent == nil && strings.Count(unquoted(got), " → ") != 1 {
				t.Errorf("%s %q: columns are not what they were: %s", place, s, got)
			}
			if e.Agent == nil && !strings.HasPrefix(got[12:], "  would-deny  exec  ") {
				t.Errorf("%s %q: the first columns moved: %s", place, s, got)
			}
		}
	}
}

// unquoted takes the quoted words out of a line.
func unquoted(s string) string {
	var b strings.Builder
	in := false
	for i := 0; i < len(s); i++ {
		switch {
		case in && s[i] == '\\':
			i++
		case s[i] == '"':
			in = !in
		case !in:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// TestJSONLinesCannotBeForged is the same for -o json.
func TestJSONLinesCannotBeForged(t *testing.T) {
	for _, s := range hostile() {
		e := &event.Event{Seq: 5, Time: time.Unix(0, 0).UTC(), Hook: event.HookExec, File: &event.File{Path: s},
			Exec: &event.Exec{Args: []string{s}, Env: map[string]string{"K": s}}, Process: event.Process{Comm: s}}
		wire := server.Encode(e)
		b, err := jsonLine(encodeEvent(wire))
		if err != nil {
			t.Fatal(err)
		}
		text, ok := strings.CutSuffix(string(b), "\n")
		for _, r := range text {
			if !unicode.IsPrint(r) {
				t.Errorf("%q: %q has %q", s, text, r)
			}
		}
		var got struct {
			event.Event
			Escaped []string `json:"escaped"`
		}
		if err := json.Unmarshal(b, &got); err != nil || !ok || got.Seq != 5 {
			t.Fatalf("%q: %v in %q", s, err, text)
		}
		if (len(got.Escaped) > 0) == utf8.ValidString(s) {
			t.Errorf("%q: escaped fields are %q", s, got.Escaped)
		}
		// What was escaped can be had back.
		wire.File.Path, wire.Escaped = got.File.Path, got.Escaped
		if back := server.Decode(&bailiffv1.Event{File: wire.File, Escaped: wire.Escaped}).File.Path; back != s {
			t.Errorf("got %q back, want %q", back, s)
		}
	}
}

func TestColoursAreForTerminals(t *testing.T) {
	none := func(string) string { return "" }
	for _, c := range []struct {
		app  app
		want bool
	}{
		{app{terminal: true, getenv: none}, true},
		{app{terminal: false, getenv: none}, false},
		{app{terminal: true, noColor: true, getenv: none}, false},
		{app{terminal: true, getenv: func(k string) string { return map[string]string{"NO_COLOR": "1"}[k] }}, false},
		{app{terminal: true, getenv: func(k string) string { return map[string]string{"TERM": "dumb"}[k] }}, false},
	} {
		if got := c.app.paint().on; got != c.want {
			t.Errorf("colours %v, want %v", got, c.want)
		}
	}
	e := &event.Event{Hook: event.HookExec, File: &event.File{Path: "/x"}, Decision: event.Decision{Verdict: event.VerdictDeny, Effect: event.EffectKilled}}
	if got := line(e, paint{on: true}); !strings.Contains(got, "\x1b[1;31mDENY      \x1b[0m") {
		t.Errorf("no colour in %q", got)
	}
}

func TestNearest(t *testing.T) {
	for s, want := range map[string]string{"scop": "scope", "bakend": "backend", "all-opens": "all_opens", "mdoe": "mode", "zzzzzz": "", "client-ca": "client_ca"} {
		if got := nearest(s, configKeys()); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// TestLogLinesCannotBeForged logs each hostile text: no further record begins,
// nothing acts on a terminal, and a secret is not there.
func TestLogLinesCannotBeForged(t *testing.T) {
	r, err := (&redactConfig{Defaults: true}).redactor()
	if err != nil {
		t.Fatal(err)
	}
	record := regexp.MustCompile(`(?m)^(\d{4}-\d\d-\d\dT|\{)`)
	for _, asJSON := range []bool{false, true} {
		for _, s := range append(hostile(), "\n2026-11-22T22:10:00.000Z [INFO]  bailiff: forged", "\n{\"@level\":\"info\",\"@message\":\"forged\"}",
			"https://user:hunter2@example.com/") {
			var b bytes.Buffer
			log := hclog.New(&hclog.LoggerOptions{Name: "bailiff", Output: logWriter{&b, r}, JSONFormat: asJSON})
			log.Error("something happened", "path", s, "error", errors.New(s))
			got := b.String()
			if n := len(record.FindAllString(got, -1)); n != 1 || !strings.HasSuffix(got, "\n") {
				t.Errorf("%q made %d records: %s", s, n, got)
			}
			for _, c := range got {
				if c != '\n' && !unicode.IsPrint(c) {
					t.Errorf("%q: %q has %q", s, got, c)
				}
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret is in the log: %s", got)
			}
			if asJSON && (strings.Count(got, "\n") != 1 || !json.Valid([]byte(got))) {
				t.Errorf("%q: not one line of JSON: %s", s, got)
			}
		}
	}
}

// FuzzOutput takes an event with any text in it the whole way: one line for
// people, one of JSON, and the bytes can be had back.
func FuzzOutput(f *testing.F) {
	for _, s := range hostile() {
		f.Add(s, s, s)
	}
	f.Fuzz(func(t *testing.T, path, arg, message string) {
		e := &event.Event{Seq: 5, Time: time.Unix(0, 0).UTC(), Hook: event.HookExec, Process: event.Process{PID: 7, Exe: event.File{Path: path}, Comm: arg},
			File: &event.File{Path: path}, Exec: &event.Exec{Args: []string{arg, path}, Env: map[string]string{arg: path}, Script: message},
			Decision: event.Decision{Verdict: event.VerdictDeny, Message: message, Rule: &event.RuleRef{ID: message}, FailOpen: arg}}
		n := &event.Event{Seq: 6, Time: e.Time, Agent: &event.Notice{Code: path, Text: message, Fields: map[string]string{arg: message}}}
		for _, e := range []*event.Event{e, n} {
			wire := server.Encode(e)
			text := line(server.Decode(wire), paint{})
			js, err := jsonLine(encodeEvent(wire))
			if err != nil {
				t.Fatal(err)
			}
			for _, out := range []string{text, strings.TrimSuffix(string(js), "\n")} {
				if !utf8.ValidString(out) || strings.ContainsFunc(out, func(r rune) bool { return !unicode.IsPrint(r) }) {
					t.Fatalf("%q", out)
				}
			}
			var got struct {
				event.Event
				Escaped []string `json:"escaped"`
			}
			if err := json.Unmarshal(js, &got); err != nil || got.Seq != e.Seq || got.Decision.Verdict != e.Decision.Verdict {
				t.Fatalf("%v: %s", err, js)
			}
			if e.Agent == nil {
				back := server.Decode(&bailiffv1.Event{File: &bailiffv1.File{Path: got.File.Path}, Escaped: got.Escaped})
				if back.File.Path != path {
					t.Fatalf("got %q back, want %q", back.File.Path, path)
				}
			}
		}
	})
}

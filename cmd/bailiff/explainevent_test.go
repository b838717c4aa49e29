package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestStepping: what a person types at the prompt shows what they asked for.
func TestStepping(t *testing.T) {
	file := filepath.Join(t.TempDir(), "act.json")
	act := `{"seq":3,"hook":"open","process":{"exe":{"path":"/usr/bin/cat"}},"file":{"path":"/etc/shadow"},"open":["read"],"decision":{"verdict":"none"}}`
	if err := os.WriteFile(file, []byte(act), 0o600); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	a := &app{out: &out, err: &out, getenv: func(string) string { return "" }, output: "text"}
	p, _, err := source("").load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	e, err := a.findEvent(t.Context(), &eventFlags{which: file})
	if err != nil {
		t.Fatal(err)
	}
	trial, err := p.Try(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	x := &triedEvent{Event: e, Trial: trial}
	for typed, want := range map[string]string{
		"1\n":      "1 of ",
		"n\nn\n":   "2 of ",
		"\n":       "1 of ",
		"3\np\n":   "2 of ",
		"p\n":      "there are rules 1 to ",
		"999\n":    "there are rules 1 to ",
		"d\n":      `"path": "/etc/shadow"`,
		"l\n":      "DECIDES  deny  shadow-read",
		"x\x1b\n":  "is none of these",
		"q\nl\n":   "q: end",
		"":         "> ",
		"2\nl\nq ": "kernel (kernel)",
	} {
		out.Reset()
		if err := a.step(strings.NewReader(typed), x); err != nil {
			t.Errorf("%q: %v", typed, err)
		}
		if !strings.Contains(out.String(), want) || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%q: %s", typed, out.String())
		}
		if strings.HasPrefix(typed, "q") && strings.Contains(out.String(), "DECIDES") {
			t.Errorf("%q goes on", typed)
		}
	}
}

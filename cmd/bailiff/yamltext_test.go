package main

import (
	"encoding/json"
	"reflect"
	"testing"
	"unicode"

	"github.com/goccy/go-yaml"
)

// TestYAMLMeansTheSame: what any YAML reader makes of it is what a JSON reader
// makes of the JSON, and nothing in it acts on a terminal.
func TestYAMLMeansTheSame(t *testing.T) {
	for _, v := range []any{
		map[string]any{"a": []any{}, "b": map[string]any{}, "c": []any{[]any{}, map[string]any{}, []any{"x", 1.5}, map[string]any{"k": "v", "l": true}}},
		map[string]any{"text": []any{"no", "1", "1e3", "a: b", "- x", "\x1b[2J", "\u202e", "/usr/bin/ev il", " lead", "#c", "null", "", "é", "a\nb: c"}},
		"plain", 7.0, []any{nil, false},
	} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		text, err := toYAML(b)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range string(text) {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%q is in %q", r, text)
			}
		}
		var back any
		if err := yaml.Unmarshal(text, &back); err != nil {
			t.Fatalf("%s\n%v", text, err)
		}
		b2, err := json.Marshal(back)
		if err != nil {
			t.Fatal(err)
		}
		var got any
		if err := json.Unmarshal(b2, &got); err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("\n got %#v\nwant %#v\n%s", got, v, text)
		}
	}
}

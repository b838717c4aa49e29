package policy

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/rules"
)

// TestEventOfIsTheWayBack: what is given for each field is what rules read.
func TestEventOfIsTheWayBack(t *testing.T) {
	p, _, err := LoadFS(context.Background(), rules.FS, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	for _, h := range event.Judged {
		for _, f := range event.Fields {
			if !slices.Contains(f.Hooks, h) {
				continue
			}
			var v any
			switch f.Kind {
			case event.KindInt:
				v = json.Number("7")
			case event.KindFlags:
				v = []any{f.Bits[1]}
			case event.KindPaths, event.KindList, event.KindNames:
				v = []any{"a", "b"}
			case event.KindMap:
				v = map[string]any{"A": "b"}
			case event.KindPath:
				v = "/a/b"
			default:
				v = "word"
			}
			if f.Path == "hook" {
				v = h.String()
			}
			in := map[string]any{}
			at := in
			keys := strings.Split(f.Path, ".")
			for _, k := range keys[:len(keys)-1] {
				next := map[string]any{}
				at[k] = next
				at = next
			}
			at[keys[len(keys)-1]] = v
			e, err := EventOf(h, in)
			if err != nil {
				t.Errorf("%s on %s: %v", f.Path, h, err)
				continue
			}
			want, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.ReplaceAll(lookup(p.document.build(&views(e)[0], everyField), f.Path).String(), ", ", ","); got != strings.ReplaceAll(string(want), `":"`, `": "`) {
				t.Errorf("%s on %s: %s, want %s", f.Path, h, got, want)
			}
		}
	}
	for in, why := range map[string]string{
		`{"file": {"pth": "/x"}}`:                      "did you mean input.file.path?",
		`{"file": {"uid": "root"}}`:                    "not a whole number",
		`{"open": {"flags": ["reed"]}}`:                "not one of read",
		`{"args": ["x"]}`:                              "an act of open has none",
		`{"process": {"uid": 4294967296}}`:             "does not fit",
		`{"file": {"path": "/a/b", "name": "c"}}`:      "does not end in the name",
		`{"hook": "exec"}`:                             "is not open",
		`{"process": {"exe": "/usr/bin/bash"}}`:        "no field input.process.exe",
		`{"file": {"traits": "setuid"}}`:               "not a list",
		`{"process": {"exe": {"path": ["/bin/sh"]}}}`:  "not a string",
		`{"process": {"cgroup": {"processes": 3}}}`:    "an act of open has none",
		`{"file": {"mode": 1.5}}`:                      "not a whole number",
		`{"env": {"A": 1}}`:                            "not an object of strings",
		`{"nothing": {"like": {"it": true}}, "x": {}}`: "no field",
	} {
		var doc map[string]any
		if err := json.Unmarshal([]byte(in), &doc); err != nil {
			t.Fatal(err)
		}
		if _, err := EventOf(event.HookOpen, doc); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want %s", in, err, why)
		}
	}
}

package ocsf

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/sinktest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// shown11 are enough to see what 1.1 leaves out; all are checked.
var shown11 = []string{"exec", "exec-refused", "open-would-deny", "exec-alert", "fork", "notice-mode-change", "gap"}

// TestGolden shows what each kind of event becomes, and that the schema takes
// it, in both versions.
func TestGolden(t *testing.T) {
	for _, version := range []string{Version18, Version11} {
		m, err := New(Options{Version: version, Findings: true, Host: sinktest.Host()})
		if err != nil {
			t.Fatal(err)
		}
		got := &txtar.Archive{Comment: []byte("What each kind of event becomes in OCSF " + version + ". Made by go test -update.\n")}
		for _, n := range sinktest.Events() {
			var text bytes.Buffer
			for _, r := range m.Map(nil, n.Item) {
				hold(t, n.Name, &r, version)
				if err := json.Indent(&text, r.Body, "", " "); err != nil {
					t.Fatalf("%s: %v: %s", n.Name, err, r.Body)
				}
				text.WriteByte('\n')
			}
			if version == Version18 || slices.Contains(shown11, n.Name) {
				got.Files = append(got.Files, txtar.File{Name: n.Name, Data: text.Bytes()})
			}
		}
		golden(t, filepath.Join("testdata", "ocsf-"+version+".txtar"), got)
	}
}

// hold checks one record.
func hold(t *testing.T, name string, r *sink.Record, version string) {
	t.Helper()
	problems, err := check(r.Body, version == Version11)
	if err != nil {
		t.Fatalf("%s: %v: %s", name, err, r.Body)
	}
	for _, p := range problems {
		t.Errorf("%s, %s: %s", version, name, p)
	}
	for _, c := range string(r.Body) {
		if !unicode.IsPrint(c) || c == utf8.RuneError {
			t.Errorf("%s: %q in %s", name, c, r.Body)
		}
	}
}

func golden(t *testing.T, path string, got *txtar.Archive) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, f := range want.Files {
		texts[f.Name] = string(f.Data)
	}
	for _, f := range got.Files {
		if texts[f.Name] != string(f.Data) {
			t.Errorf("%s, %s: got\n%swant\n%s(go test -update writes it anew)", path, f.Name, f.Data, texts[f.Name])
		}
	}
	if len(want.Files) != len(got.Files) {
		t.Errorf("%s has %d files, want %d", path, len(want.Files), len(got.Files))
	}
}

// TestOutcome: what was done stands in action and disposition.
func TestOutcome(t *testing.T) {
	want := map[string][2]int{
		"exec-allowed": {1, 1}, "exec-refused": {2, 2}, "exec-killed": {2, 2}, "exec-killed-late": {2, 7}, "open-would-deny": {3, 15},
		"open-refused": {2, 2}, "exec-alert": {3, 19}, "open-unjudged": {1, 27}, "open-undecided": {1, 14}, "fork-refused": {2, 2},
	}
	for _, n := range sinktest.Events() {
		if w, ok := want[n.Name]; ok {
			if a, d := outcome(n.Item.Event); a != w[0] || d != w[1] {
				t.Errorf("%s: action %d, disposition %d, want %v", n.Name, a, d, w)
			}
		}
	}
}

func TestUnknownVersion(t *testing.T) {
	if _, err := New(Options{Version: "9"}); err == nil {
		t.Error("version 9 is taken")
	}
}

// FuzzMap: whatever an event says, the record is valid.
func FuzzMap(f *testing.F) {
	for _, n := range sinktest.Events() {
		if n.Item.Event != nil {
			b, err := json.Marshal(n.Item.Event)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, "\xff", true)
			f.Add(b, "x", false)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, text string, v11 bool) {
		e := &event.Event{}
		if err := json.Unmarshal(b, e); err != nil {
			return
		}
		e.Process.Comm, e.Process.Exe.Path = text, text
		if e.Exec != nil {
			e.Exec.Args = append(e.Exec.Args, text)
		}
		version := Version18
		if v11 {
			version = Version11
		}
		m, err := New(Options{Version: version, Findings: true, Host: sinktest.Host()})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range m.Map(nil, &sink.Item{Run: sinktest.Run(), Seq: e.Seq % (1 << 31), Event: e, Time: e.Time}) {
			hold(t, "fuzz", &r, version)
		}
	})
}

func BenchmarkMap(b *testing.B) {
	m, err := New(Options{Host: sinktest.Host()})
	if err != nil {
		b.Fatal(err)
	}
	it := sinktest.Events()[0].Item
	var out []sink.Record
	for b.Loop() {
		out = m.Map(out[:0], it)
	}
}

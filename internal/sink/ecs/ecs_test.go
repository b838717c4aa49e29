package ecs

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/sinktest"
)

var update = flag.Bool("update", false, "write the golden file anew")

// fields are those of ECS that may be written, by their documented names. All
// else must stand below "bailiff".
var fields = strings.Fields(`
	@timestamp message ecs.version
	event.id event.kind event.category event.type event.action event.outcome event.module event.dataset event.provider
	event.severity event.sequence event.reason
	host.name host.hostname host.id host.boot.id host.os.type host.os.kernel
	agent.type agent.version agent.id agent.ephemeral_id orchestrator.cluster.name
	process.pid process.entity_id process.executable process.name process.args process.args_count process.working_directory
	process.start process.exit_code process.real_user.id process.real_group.id process.user.id process.group.id process.thread.id
	process.parent.pid process.parent.entity_id process.parent.executable process.parent.name
	file.path file.name file.directory file.inode file.device file.mode file.uid file.gid
	user.id rule.id rule.name rule.ruleset rule.version threat.framework threat.technique.id threat.technique.subtechnique.id`)

// allowed values of the four fields by which Elastic sorts events.
var allowed = map[string][]string{
	"kind":     {"event", "alert", "pipeline_error"},
	"category": {"process", "file", "configuration", "host"},
	"type":     {"start", "end", "access", "denied", "allowed", "info", "change", "creation", "deletion"},
	"outcome":  {"success", "failure", "unknown"},
}

func hold(t *testing.T, name string, body []byte) {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatalf("%s: %v: %s", name, err, body)
	}
	for _, c := range string(body) {
		if !unicode.IsPrint(c) || c == utf8.RuneError {
			t.Errorf("%s: %q in %s", name, c, body)
		}
	}
	var walk func(at string, v map[string]any)
	walk = func(at string, v map[string]any) {
		for k, x := range v {
			if at == "" && k == "bailiff" {
				continue
			}
			if m, ok := x.(map[string]any); ok {
				walk(at+k+".", m)
			} else if !slices.Contains(fields, at+k) {
				t.Errorf("%s: %s is no field of ECS", name, at+k)
			}
		}
	}
	walk("", v)
	e := v["event"].(map[string]any)
	for k, values := range allowed {
		list, ok := e[k].([]any)
		if !ok {
			list = []any{e[k]}
		}
		for _, x := range list {
			if !slices.Contains(values, x.(string)) {
				t.Errorf("%s: event.%s is %v", name, k, x)
			}
		}
	}
}

// TestGolden shows what each kind of event becomes.
func TestGolden(t *testing.T) {
	m := New(sinktest.Host())
	got := &txtar.Archive{Comment: []byte("What each kind of event becomes in ECS. Made by go test -update.\n")}
	for _, n := range sinktest.Events() {
		for _, r := range m.Map(nil, n.Item) {
			hold(t, n.Name, r.Body)
			var text bytes.Buffer
			if err := json.Indent(&text, r.Body, "", " "); err != nil {
				t.Fatal(err)
			}
			text.WriteByte('\n')
			got.Files = append(got.Files, txtar.File{Name: n.Name, Data: text.Bytes()})
		}
	}
	const path = "testdata/ecs.txtar"
	if *update {
		if err := os.WriteFile(path, txtar.Format(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, txtar.Format(got)) {
		t.Errorf("%s is not what is made now; see git diff after go test -update", path)
	}
}

// FuzzMap: whatever an event says, the record is one line of valid ECS.
func FuzzMap(f *testing.F) {
	for _, n := range sinktest.Events() {
		if n.Item.Event != nil {
			b, err := json.Marshal(n.Item.Event)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(b, "\xff\n")
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		e := &event.Event{}
		if err := json.Unmarshal(b, e); err != nil {
			return
		}
		e.Process.Comm, e.Process.Cgroup = text, text
		for _, r := range New(sinktest.Host()).Map(nil, &sink.Item{Run: sinktest.Run(), Seq: e.Seq, Event: e, Time: e.Time}) {
			hold(t, "fuzz", r.Body)
		}
	})
}

package decisionlog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

func denied(seq uint64) *event.Event {
	return &event.Event{
		Seq: seq, Time: time.Unix(1, 0), Hook: event.HookExec, Process: event.Process{Exe: event.File{Path: "/bin/a\u202e"}},
		Redacted: []string{"exec.args"},
		Decision: event.Decision{Verdict: event.VerdictDeny, Rule: &event.RuleRef{ID: "r"}, Message: "m", Revision: "one"},
	}
}

func document(e *event.Event) ([]byte, error) {
	return json.Marshal(map[string]any{"process": map[string]any{"exe": map[string]any{"path": e.Process.Exe.Path}, "uid": 7}, "args": []string{"a", "***"}})
}

func options(t *testing.T) Options {
	t.Helper()
	return Options{Run: event.Run{ID: "run", Boot: "boot"}, Input: document, File: filepath.Join(t.TempDir(), "log.json")}
}

// through runs a log over some events and returns the lines of its files,
// oldest first.
func through(t *testing.T, o Options, n int) (*Log, []string) {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		l.Emit(denied(uint64(i + 1)))
	}
	l.Close()
	l.Run(t.Context())
	var out []string
	for i := o.Keep; i >= 0; i-- {
		name := o.File
		if i > 0 {
			name = fmt.Sprintf("%s.%d", o.File, i)
		}
		b, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")...)
	}
	return l, out
}

func TestMaskAndEscape(t *testing.T) {
	o := options(t)
	o.Mask = []string{"/input/args", "/input/process/uid=hidden", "/input/nothing/there", "/result/rule/id"}
	_, lines := through(t, o, 1)
	if strings.Contains(lines[0], "\u202e") || !strings.Contains(lines[0], `\u202e`) {
		t.Errorf("a direction mark gets out: %s", lines[0])
	}
	var x struct {
		Input  map[string]any
		Result map[string]any
		Erased []string
		Masked []string
	}
	if err := json.Unmarshal([]byte(lines[0]), &x); err != nil {
		t.Fatal(err)
	}
	if x.Input["args"] != nil || x.Input["process"].(map[string]any)["uid"] != "hidden" || x.Result["rule"].(map[string]any)["id"] != nil ||
		fmt.Sprint(x.Erased) != "[/input/args /result/rule/id]" || fmt.Sprint(x.Masked) != "[/input/args /input/process/uid]" {
		t.Errorf("%+v", x)
	}
	for _, bad := range []string{"input/args", "/output", "/input//x", "/input/%zz"} {
		o.Mask = []string{bad}
		if _, err := New(o); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestRotation(t *testing.T) {
	o := options(t)
	o.MaxBytes, o.Keep = 1500, 3
	l, lines := through(t, o, 9)
	files, err := os.ReadDir(filepath.Dir(o.File))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 4 || len(lines) >= 9 || l.Counters()["decision_log_written"] != 9 {
		t.Errorf("%d files, %d lines, %v", len(files), len(lines), l.Counters())
	}
	for _, f := range files {
		st, err := f.Info()
		if err != nil || st.Size() > o.MaxBytes || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %d bytes, %v", f.Name(), st.Size(), st.Mode())
		}
	}
	last := lines[len(lines)-1]
	if !strings.Contains(last, `"seq":9`) {
		t.Errorf("the newest is not the last: %s", last)
	}
}

// TestNobodyWaits: a queue that nobody reads costs events, each counted, and no
// time; an unwritable file is told of and counted.
func TestNobodyWaits(t *testing.T) {
	o := options(t)
	o.Queue = 4
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		l.Emit(denied(uint64(i)))
	}
	e := denied(11)
	e.Decision.Verdict = event.VerdictAllow
	l.Emit(e) // not asked for
	if n := l.Counters()["drop_decision_log_queue"]; n != 6 {
		t.Errorf("%d dropped", n)
	}
	o = options(t)
	o.File = filepath.Join(o.File, "no", "directory")
	var mu sync.Mutex
	var told []error
	o.Trouble = func(err error) { mu.Lock(); defer mu.Unlock(); told = append(told, err) }
	l, _ = through(t, o, 3)
	mu.Lock()
	defer mu.Unlock()
	if l.Counters()["drop_decision_log_write"] != 3 || len(told) != 1 || told[0] == nil {
		t.Errorf("%v, told %v", l.Counters(), told)
	}
}

func TestIDsAreStable(t *testing.T) {
	o := options(t)
	_, a := through(t, o, 2)
	o.File += "2"
	_, b := through(t, o, 2)
	id := func(line string) string {
		var x struct {
			ID string `json:"decision_id"`
		}
		if err := json.Unmarshal([]byte(line), &x); err != nil {
			t.Fatal(err)
		}
		return x.ID
	}
	if id(a[0]) != id(b[0]) || id(a[0]) == id(a[1]) || len(id(a[0])) != 36 {
		t.Errorf("%s %s %s", id(a[0]), id(b[0]), id(a[1]))
	}
}

func TestRunEndsWithItsContext(t *testing.T) {
	l, err := New(options(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Run(ctx)
}

func BenchmarkEmit(b *testing.B) {
	l, err := New(Options{Input: document, File: "/dev/null", Queue: 1})
	if err != nil {
		b.Fatal(err)
	}
	e := denied(1)
	for b.Loop() {
		l.Emit(e)
	}
}

package recorded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/recorded"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/spool"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

func act(seq uint64) *event.Event {
	return &event.Event{
		Seq: seq, Time: time.Unix(1, int64(seq)).UTC(), Hook: event.HookExec,
		Process: event.Process{PID: 7, Exe: event.File{Path: "/bin/\xff"}, Ancestry: []string{"/a"}},
		File:    &event.File{Path: "/tmp/x", Names: []string{"/tmp/x", "/y"}},
		Exec:    &event.Exec{Args: []string{"x", "\\"}, Env: map[string]string{"A": "b"}, ArgsCut: true},
		Decision: event.Decision{Verdict: event.VerdictDeny, Rule: &event.RuleRef{ID: "r"},
			Others: []event.RuleRef{{ID: "s"}}},
	}
}

func all(t *testing.T, read func(func(recorded.Record) error) error) (out []recorded.Record) {
	t.Helper()
	if err := read(func(r recorded.Record) error { out = append(out, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSpoolIsReadWhileItIsWritten(t *testing.T) {
	dir := t.TempDir()
	l, err := spool.Open(spool.Options{Dir: dir, Run: event.Run{ID: "run", Boot: "boot"}, Linger: time.Microsecond})
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= 3; i++ {
		b, err := proto.Marshal(server.Encode(act(i)))
		if err != nil {
			t.Fatal(err)
		}
		l.Append(i, b, true)
	}
	// What another reader has seen is on disk.
	errSeen := errors.New("seen")
	err = l.Follow(t.Context(), event.Position{}, func(ks []event.Kept) error {
		if ks[len(ks)-1].Seq == 3 {
			return errSeen
		}
		return nil
	})
	if !errors.Is(err, errSeen) {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		got := all(t, func(y func(recorded.Record) error) error { return recorded.Read(t.Context(), dir, nil, y) })
		if len(got) != 3 || got[2].Run != (event.Run{ID: "run", Boot: "boot"}) || !reflect.DeepEqual(got[2].Event, act(3)) {
			t.Fatalf("got %+v", got)
		}
	}
	check()
	if err := l.Close(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	check()
	if err := recorded.Read(t.Context(), t.TempDir(), nil, nil); !errors.Is(err, spool.ErrNoSpool) {
		t.Errorf("an empty directory: %v", err)
	}
}

func TestLines(t *testing.T) {
	text := `{"start":{"boot_id":"b","run_id":"one","after_seq":3}}
{"seq":4,"time":"2026-11-22T19:34:45.154Z","hook":"open","process":{"pid":3,"exec_id":"0000000000000010"},"file":{"path":"/a\\xff\\\\"},"open":["read"],"decision":{"verdict":"deny","effect":"none"},"escaped":["file.path"]}

{"gap":{"count":2,"first_seq":5,"last_seq":6,"reason":"evicted","run_id":"two","at_least":true}}
{"seq":7,"hook":
{"seq":8,"hook":"none","agent":{"code":"started"}}
`
	got := all(t, func(y func(recorded.Record) error) error {
		return recorded.Lines(t.Context(), strings.NewReader(text), y)
	})
	if len(got) != 4 {
		t.Fatalf("got %+v", got)
	}
	e := got[0].Event
	if got[0].Run != (event.Run{ID: "one", Boot: "b"}) || e.File.Path != "/a\xff\\" || e.Process.ExecID != 16 || !e.Decision.WouldDeny() {
		t.Errorf("event: %+v", e)
	}
	if g := got[1].Gap; g == nil || *g != (recorded.Gap{First: 5, Last: 6, Count: 2, Reason: "evicted", AtLeast: true}) || got[1].Run.ID != "two" {
		t.Errorf("gap: %+v", got[1])
	}
	if g := got[2].Gap; g == nil || g.Reason != "damaged" {
		t.Errorf("damaged line: %+v", got[2])
	}
	if got[3].Event.Agent.Code != "started" {
		t.Errorf("notice: %+v", got[3])
	}
	for _, bad := range []string{"syslog says hello\n", "{}\n", `{"hook":"teleport"}` + "\n"} {
		if err := recorded.Lines(t.Context(), strings.NewReader(bad), nil); !errors.Is(err, recorded.ErrNotRecording) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

type batches []*bailiffv1.EventsResponse

func (b *batches) Recv() (*bailiffv1.EventsResponse, error) {
	if len(*b) == 0 {
		return nil, io.EOF
	}
	m := (*b)[0]
	*b = (*b)[1:]
	return m, nil
}

func TestStreamEndsAtThePosition(t *testing.T) {
	wire := func(i uint64) *bailiffv1.Record {
		return &bailiffv1.Record{Record: &bailiffv1.Record_Event{Event: server.Encode(act(i))}}
	}
	start := &bailiffv1.Record{Record: &bailiffv1.Record_Start{Start: &bailiffv1.Start{RunId: "run"}}}
	for _, through := range []uint64{2, 9} {
		b := batches{{Records: []*bailiffv1.Record{start, wire(1)}}, {Records: []*bailiffv1.Record{wire(2), wire(3)}}}
		got := all(t, func(y func(recorded.Record) error) error {
			return recorded.Stream(&b, event.Position{Run: "run", Seq: through}, y)
		})
		if want := int(min(through, 3)); len(got) != want || got[0].Run.ID != "run" {
			t.Errorf("through %d: %d records", through, len(got))
		}
	}
	b := batches{{Records: []*bailiffv1.Record{start, wire(1), wire(2)}}}
	n := 0
	if err := recorded.Stream(&b, event.Position{}, func(recorded.Record) error { n++; return recorded.ErrEnough }); err != nil || n != 1 {
		t.Errorf("stop: %d, %v", n, err)
	}
}

func TestLimits(t *testing.T) {
	e := act(1)
	if got := recorded.Limits(e); len(got) != 1 || got[0] != "args are cut" {
		t.Errorf("cut arguments: %v", got)
	}
	e.Exec, e.File.Unresolved = nil, true
	if got := recorded.Limits(e); len(got) != 2 {
		t.Errorf("refused exec: %v", got)
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"seq":4,"hook":"open","file":{"path":"/a\\xff"},"escaped":["file.path"]}`))
	f.Add([]byte(`{"gap":{"count":2}}`))
	f.Add([]byte(`{"start":{}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		two := fmt.Appendf(nil, "{\"start\":{}}\n%s\n", line)
		_ = recorded.Lines(context.Background(), bytes.NewReader(two), func(r recorded.Record) error {
			if (r.Event == nil) == (r.Gap == nil) {
				t.Fatalf("%q: neither event nor gap, or both", line)
			}
			if r.Event != nil {
				recorded.Limits(r.Event)
			}
			return nil
		})
	})
}

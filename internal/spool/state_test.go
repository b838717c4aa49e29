package spool

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

func TestState(t *testing.T) {
	dir := memDir(t)
	began := time.Now()
	l := open(t, Options{Dir: dir, Run: event.Run{ID: "a"}})
	fill(l, 1, 100)
	flushed(t, l)
	ack := func(l *Log, name, run string, seq uint64) {
		t.Helper()
		if err := l.Acknowledge(name, event.Position{Run: run, Seq: seq}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(l *Log, behind map[string]uint64) {
		t.Helper()
		s := l.State()
		if len(s.Consumers) != len(behind) || s.Bytes == 0 || s.Segments == 0 || s.Dir != dir {
			t.Fatalf("got %+v", s)
		}
		if s.Oldest.Before(began.Add(-time.Second)) || s.Oldest.After(time.Now()) {
			t.Errorf("oldest is %v", s.Oldest)
		}
		for _, c := range s.Consumers {
			if n, ok := behind[c.Name]; !ok || c.Known && c.Behind != n || !c.Known && n != 999 {
				t.Errorf("%+v, want %d behind", c, n)
			}
		}
	}
	ack(l, "near", "a", 90)
	ack(l, "done", "a", 100)
	want(l, map[string]uint64{"near": 10, "done": 0})
	closeLog(t, l)

	l = open(t, Options{Dir: dir, Run: event.Run{ID: "b"}})
	defer closeLog(t, l)
	fill(l, 1, 5)
	flushed(t, l)
	ack(l, "new", "b", 2)
	want(l, map[string]uint64{"near": 15, "done": 5, "new": 3})
	if err := os.WriteFile(filepath.Join(dir, "broken.cursor"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(l, map[string]uint64{"near": 15, "done": 5, "new": 3, "broken": 999})
}

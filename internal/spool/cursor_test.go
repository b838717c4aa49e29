package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

func TestCursors(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir, Run: event.Run{ID: "a"}})
	fill(l, 1, 100)
	at := func(seq uint64) event.Position { return event.Position{Run: "a", Seq: seq} }
	want := func(l *Log, p event.Position) {
		t.Helper()
		if got, err := l.Acknowledged("siem-1"); err != nil || got != p {
			t.Errorf("got %v, %v, want %v", got, err, p)
		}
	}
	want(l, event.Position{})
	for _, seq := range []uint64{10, 50, 20} {
		if err := l.Acknowledge("siem-1", at(seq)); err != nil {
			t.Fatal(err)
		}
	}
	want(l, at(50)) // it never goes back
	if err := l.Acknowledge("siem-1", event.Position{Run: "x", Seq: 1}); err == nil {
		t.Error("a run that is not known is acknowledged")
	}
	for _, name := range []string{"", ".x", "a/b", "../x", "a b", string(make([]byte, 65))} {
		if err := l.Acknowledge(name, at(1)); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	closeLog(t, l)

	l = open(t, Options{Dir: dir, Run: event.Run{ID: "b"}})
	want(l, at(50))
	p, err := l.Acknowledged("siem-1")
	if err != nil {
		t.Fatal(err)
	}
	if c := readAll(t, l, p); c.got["a"] != 50 || c.lost["a"] != 0 {
		t.Errorf("got %+v", c)
	}

	// Any byte of the file changes: an error, never another position.
	path := filepath.Join(dir, "siem-1"+cursorExt)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		b[i] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if p, err := l.Acknowledged("siem-1"); err == nil || p != (event.Position{}) {
			t.Fatalf("byte %d: got %v, %v", i, p, err)
		}
		b[i] ^= 1
	}
	b[0] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.Acknowledge("siem-1", at(60)); err != nil { // and is mended by the next
		t.Fatal(err)
	}
	want(l, at(60))
	if err := l.Forget("siem-1"); err != nil {
		t.Fatal(err)
	}
	want(l, event.Position{})
}

func TestConsumersAreBounded(t *testing.T) {
	l := open(t, Options{Dir: memDir(t), Run: event.Run{ID: "a"}})
	for i := range MaxConsumers {
		if err := l.Acknowledge(fmt.Sprint("c", i), event.Position{Run: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Acknowledge("one-more", event.Position{Run: "a"}); err == nil || len(l.Consumers()) != MaxConsumers {
		t.Errorf("%v, %d", err, len(l.Consumers()))
	}
}

// TestBehind counts what stands after a position, over runs.
func TestBehind(t *testing.T) {
	dir := t.TempDir()
	for i, run := range []string{"one", "two"} {
		l, err := Open(Options{Dir: dir, Run: event.Run{ID: run, Boot: "b"}})
		if err != nil {
			t.Fatal(err)
		}
		for seq := range uint64(10) {
			l.Append(seq+1, []byte("event"), false)
		}
		if _, err := l.Acknowledged("x"); err != nil {
			t.Fatal(err)
		}
		err = l.Follow(t.Context(), event.Position{}, func(ks []event.Kept) error {
			if last := ks[len(ks)-1]; last.Run.ID == run && last.Seq == 10 {
				return context.Canceled
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		for p, want := range map[event.Position]uint64{
			{}: 10 * uint64(i+1), {Run: "one", Seq: 4}: 6 + 10*uint64(i), {Run: run, Seq: 10}: 0, {Run: "strange", Seq: 3}: 10 * uint64(i+1),
		} {
			if got := l.Behind(p); got != want {
				t.Errorf("run %s: %d behind %+v, want %d", run, got, p, want)
			}
		}
		if err := l.Close(time.Minute); err != nil {
			t.Fatal(err)
		}
	}
}

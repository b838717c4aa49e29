package file

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/ecs"
	"example.com/bailiff/internal/sink/sinktest"
)

// ids reads the ids of all records in path and its rotated files, oldest first.
func ids(t *testing.T, path string) (out []string, files int) {
	t.Helper()
	all, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	if len(all) > 1 { // the one in use is the newest
		all = append(all[1:], all[0])
	}
	for _, name := range all {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(string(b)) {
			var r struct{ Event struct{ ID string } }
			if err := json.Unmarshal([]byte(l), &r); err != nil {
				t.Fatalf("%s: %v: %q", name, err, l)
			}
			out = append(out, r.Event.ID)
		}
	}
	return out, len(all)
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	r := sinktest.NewRig(t)
	r.Start(ecs.New(sinktest.Host()), New(Options{Path: path, MaxBytes: 100_000, Keep: 1000}))
	r.Emit(1000)
	r.Drained()
	got, files := ids(t, path)
	if again := sinktest.Compare(t, got, r.All()); again != 0 || files < 10 {
		t.Errorf("%d twice, in %d files", again, files)
	}
	st, err := os.Stat(path)
	if err != nil || st.Size() > 100_000 || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}

	// Fewer files from now on.
	r.StopRunner()
	r.Start(ecs.New(sinktest.Host()), New(Options{Path: path, MaxBytes: 100_000, Keep: 2}))
	more := r.Emit(300)
	r.Drained()
	got, files = ids(t, path)
	if files != 3 || !slices.Contains(got, more[299]) {
		t.Errorf("%d files, %d records", files, len(got))
	}
}

// record makes one without a spool.
func record(seq uint64) []sink.Record {
	return ecs.New(sinktest.Host()).Map(nil, &sink.Item{Run: sinktest.Run(), Seq: seq, Event: &event.Event{Seq: seq, Hook: event.HookExit}})
}

func send(t *testing.T, s *Sender, seqs ...uint64) {
	t.Helper()
	for _, n := range seqs {
		if _, err := s.Send(context.Background(), record(n)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Confirm(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestAge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	now := time.Unix(1000, 0)
	s := New(Options{Path: path, MaxAge: time.Hour, Now: func() time.Time { return now }})
	send(t, s, 1, 2)
	now = now.Add(time.Hour)
	send(t, s, 3)
	if _, files := ids(t, path); files != 2 {
		t.Errorf("%d files", files)
	}
}

// TestTorn: half a line from before is not continued.
func TestTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	for _, torn := range []string{`{"half`, strings.Repeat("x", 200<<10)} {
		s := New(Options{Path: path})
		send(t, s, 1)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(whole, torn...), 0o600); err != nil {
			t.Fatal(err)
		}
		s = New(Options{Path: path})
		send(t, s, 2)
		if got, _ := ids(t, path); len(got) != 2 {
			t.Errorf("got %q", got)
		}
		if err := os.WriteFile(path, []byte(torn), 0o600); err != nil {
			t.Fatal(err)
		}
		s = New(Options{Path: path})
		send(t, s, 3)
		if got, _ := ids(t, path); len(got) != 1 {
			t.Errorf("got %q", got)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMoved: somebody else may rotate.
func TestMoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "events.jsonl")
	s := New(Options{Path: path})
	send(t, s, 1)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	send(t, s, 2)
	if _, files := ids(t, path); files != 2 {
		t.Errorf("%d files", files)
	}
}

// TestFull: a disk that is full leaves no half line, and nothing is lost once
// there is room.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "events.jsonl")
	r := sinktest.NewRig(t)
	r.Start(ecs.New(sinktest.Host()), New(Options{Path: path}))
	r.Emit(500)
	sinktest.Eventually(t, "the trouble is told", func() bool { return r.Trouble() != nil })
	ids(t, path) // all of them whole
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	r.Drained()
	got, _ := ids(t, path)
	t.Logf("%d came again", sinktest.Compare(t, got, r.All()))
}

// TestNoLink: a link in place of the file is not followed.
func TestNoLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), filepath.Join(dir, "events.jsonl")); err != nil {
		t.Fatal(err)
	}
	s := New(Options{Path: filepath.Join(dir, "events.jsonl")})
	if _, err := s.Send(t.Context(), record(1)); err == nil {
		t.Error("a link was followed")
	}
}

func TestStdout(t *testing.T) {
	var out bytes.Buffer
	s := New(Options{Path: Stdout, Out: &out})
	send(t, s, 1, 2)
	if n := strings.Count(out.String(), "\n"); n != 2 {
		t.Errorf("%d lines: %s", n, &out)
	}
	if err := s.Close(); err != nil {
		t.Error(fmt.Errorf("close: %w", err))
	}
}

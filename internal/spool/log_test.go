package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

// TestCompressed: what is packed comes back as it was, takes less room, and is
// read by a run that does not pack.
func TestCompressed(t *testing.T) {
	dir, size := memDir(t), map[Compression]uint64{}
	for i, c := range []Compression{CompressNone, CompressZstd, CompressNone} {
		run := fmt.Sprint("run", i)
		l := open(t, Options{Dir: filepath.Join(dir, string(c)), Run: event.Run{ID: run}, Compress: c})
		fill(l, 1, 20000)
		flushed(t, l)
		if i < 2 {
			size[c] = l.Counters()["spool_bytes"]
		}
		closeLog(t, l)
	}
	if size[CompressZstd]*2 > size[CompressNone] {
		t.Errorf("sizes are %v", size)
	}
	l := open(t, Options{Dir: filepath.Join(dir, string(CompressZstd)), Run: event.Run{ID: "after"}})
	if c := readAll(t, l, event.Position{}); c.got["run1"] != 20000 || len(c.lost) != 0 {
		t.Errorf("got %+v", c)
	}
	if _, err := Open(Options{Dir: dir, Run: event.Run{ID: "x"}, Compress: "lzma"}); err == nil {
		t.Error("an unknown compression was taken")
	}
}

const patience = 20 * time.Second

// memDir is a directory on a tmpfs, where a sync costs nothing.
func memDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "bailiff-spool-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func open(t testing.TB, o Options) *Log {
	t.Helper()
	if o.Run.Boot == "" {
		o.Run.Boot = "boot"
	}
	if o.Linger == 0 {
		o.Linger = time.Millisecond
	}
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeLog(t, l) })
	return l
}

func closeLog(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Close(patience); err != nil {
		t.Error(err)
	}
}

func payload(run string, seq uint64) []byte {
	return fmt.Appendf(nil, "%s/%d/%s", run, seq, strings.Repeat("x", int(seq%40)))
}

// fill appends the events from..to, one frame for each `each`.
func fill(l *Log, from, to uint64) {
	for seq := from; seq <= to; seq++ {
		l.Append(seq, payload(l.o.Run.ID, seq), false)
	}
}

// flushed waits until everything that was appended is written or lost.
func flushed(t *testing.T, l *Log) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	end := errors.New("end")
	last := l.Last()
	err := l.Follow(ctx, event.Position{}, func(ks []event.Kept) error {
		for _, k := range ks {
			if k.Run.ID == last.Run && (k.Seq == last.Seq || k.Gap != nil && k.Gap.Last == last.Seq) {
				return end
			}
		}
		return nil
	})
	if !errors.Is(err, end) {
		t.Fatalf("waiting for %v: %v", last, err)
	}
}

// tally is what a reader saw: for each run what it got, and that nothing came
// twice, out of order, changed or without account.
type tally struct {
	got, lost map[string]uint64
	next      map[string]uint64
	reasons   map[event.LossReason]uint64
	unsure    int
	unknown   int
}

func newTally() *tally {
	return &tally{got: map[string]uint64{}, lost: map[string]uint64{}, next: map[string]uint64{}, reasons: map[event.LossReason]uint64{}}
}

func (c *tally) take(ks []event.Kept) error {
	for _, k := range ks {
		run := k.Run.ID
		if c.next[run] == 0 {
			c.next[run] = 1
		}
		if g := k.Gap; g != nil {
			c.reasons[g.Reason] += g.Count
			if g.AtLeast {
				c.unsure++
			}
			if g.Reason == event.LossUnknownCursor {
				c.unknown++
			}
			if g.Count == 0 {
				continue
			}
			if g.First != c.next[run] || g.Last-g.First+1 != g.Count {
				return fmt.Errorf("gap %+v of run %q where %d is next", *g, run, c.next[run])
			}
			c.next[run] = g.Last + 1
			c.lost[run] += g.Count
			continue
		}
		if k.Seq != c.next[run] {
			return fmt.Errorf("event %d of run %q where %d is next", k.Seq, run, c.next[run])
		}
		if !bytes.Equal(k.Data, payload(run, k.Seq)) {
			return fmt.Errorf("event %d of run %q is %q", k.Seq, run, k.Data)
		}
		c.next[run]++
		c.got[run]++
	}
	return nil
}

// readAll closes the log and reads it from a position to its end.
func readAll(t *testing.T, l *Log, after event.Position) *tally {
	t.Helper()
	closeLog(t, l)
	c := newTally()
	if after.Run != "" {
		c.next[after.Run] = after.Seq + 1
	}
	if err := l.Follow(t.Context(), after, c.take); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPastThenLive: readers that begin at different times, while it is written,
// get the same, and a reader that starts in the middle has no seam.
func TestPastThenLive(t *testing.T) {
	const total = 20000
	l := open(t, Options{Dir: memDir(t), Run: event.Run{ID: "a"}, SegmentBytes: 32 << 10, MaxBytes: 64 << 20})
	type result struct {
		c   *tally
		err error
	}
	results := make(chan result)
	starts := []uint64{0, 500, 5000, 10000}
	for i, after := range starts {
		fill(l, uint64(i*total/4)+1, uint64((i+1)*total/4))
		go func() {
			c := newTally()
			p := event.Position{}
			if after > 0 {
				p = event.Position{Run: "a", Seq: after}
				c.next["a"] = after + 1
			}
			err := l.Follow(t.Context(), p, c.take)
			if c.got["a"] != total-after && err == nil {
				err = fmt.Errorf("after %d: got %d", after, c.got["a"])
			}
			results <- result{c, err}
		}()
	}
	closeLog(t, l)
	for range starts {
		if r := <-results; r.err != nil || len(r.c.reasons) != 0 {
			t.Errorf("%v, gaps %v", r.err, r.c.reasons)
		}
	}
}

func TestRunsFollowEachOther(t *testing.T) {
	dir := memDir(t)
	for i, run := range []string{"a", "b", "c"} {
		var found event.SpoolReport
		l := open(t, Options{Dir: dir, Run: event.Run{ID: run}, Opened: func(r event.SpoolReport) { found = r }})
		fill(l, 1, uint64(100*(i+1)))
		closeLog(t, l)
		if !found.Clean || found.Lost != 0 || found.AtLeast {
			t.Errorf("run %s found %+v", run, found)
		}
	}
	l := open(t, Options{Dir: dir, Run: event.Run{ID: "d"}})
	closeLog(t, l)
	for _, c := range []struct {
		after   event.Position
		a, b, c uint64
		unknown int
	}{
		{event.Position{}, 100, 200, 300, 0},
		{event.Position{Run: "a", Seq: 99}, 1, 200, 300, 0},
		{event.Position{Run: "a", Seq: 100}, 0, 200, 300, 0},
		{event.Position{Run: "a", Seq: 1 << 63}, 0, 200, 300, 0}, // saw more than was kept
		{event.Position{Run: "b", Seq: 0}, 0, 200, 300, 0},
		{event.Position{Run: "c", Seq: 300}, 0, 0, 0, 0},
		{event.Position{Run: "d", Seq: ^uint64(0)}, 0, 0, 0, 0},
		{event.Position{Run: "nobody", Seq: 7}, 100, 200, 300, 1},
	} {
		got := readAll(t, l, c.after)
		if got.got["a"] != c.a || got.got["b"] != c.b || got.got["c"] != c.c || got.unknown != c.unknown {
			t.Errorf("after %v: %+v", c.after, got)
		}
	}
}

// TestQueueIsBounded: what does not fit is lost, counted and told in place; the
// caller does not wait.
func TestQueueIsBounded(t *testing.T) {
	l := open(t, Options{Dir: memDir(t), Run: event.Run{ID: "a"}, QueueBytes: 2000, Linger: time.Hour})
	fill(l, 1, 500)
	l.Append(501, make([]byte, maxRecord+1), false)
	l.Append(510, payload("a", 510), true)
	c := readAll(t, l, event.Position{})
	if c.got["a"]+c.lost["a"] != 510 || c.reasons[event.LossQueue] == 0 || c.reasons[event.LossOversize] != 1 || c.reasons[event.LossRing] != 8 {
		t.Errorf("got %+v", c)
	}
	n := l.Counters()
	if n["spool_lost_queue"] != c.reasons[event.LossQueue] || n["spool_lost_oversize"] != 1 || n["spool_written"] != c.got["a"] {
		t.Errorf("counters %v, read %+v", n, c)
	}
}

func TestUrgentIsSyncedAtOnce(t *testing.T) {
	l := open(t, Options{Dir: memDir(t), Run: event.Run{ID: "a"}, Linger: time.Hour, SyncEvery: time.Hour})
	l.Append(1, payload("a", 1), true)
	flushed(t, l) // does not wait for an hour
	if n := l.Counters()["spool_syncs"]; n != 1 {
		t.Errorf("synced %d times", n)
	}
}

func TestRetention(t *testing.T) {
	dir := memDir(t)
	const maxBytes = 64 << 10
	l := open(t, Options{Dir: dir, Run: event.Run{ID: "a"}, SegmentBytes: 8 << 10, MaxBytes: maxBytes, QueueBytes: 64 << 20})
	for i := range uint64(100) {
		fill(l, i*100+1, (i+1)*100)
		flushed(t, l)
		if n := l.Counters()["spool_bytes"]; n > maxBytes {
			t.Fatalf("%d bytes are kept", n)
		}
	}
	c := readAll(t, l, event.Position{Run: "a", Seq: 10})
	if c.got["a"]+c.lost["a"] != 10000-10 || c.reasons[event.LossEvicted] != c.lost["a"] || c.lost["a"] == 0 || c.got["a"] == 0 {
		t.Errorf("got %+v", c)
	}
	if n := l.Counters()["spool_lost_evicted"]; n != c.lost["a"]+10 {
		t.Errorf("%d evicted by its own count, %d as read", n, c.lost["a"]+10)
	}
	files, err := filepath.Glob(dir + "/*.seg")
	if err != nil || len(files) > maxBytes/(8<<10)+1 {
		t.Errorf("%d files, %v", len(files), err)
	}
	// What was evicted is not asked for by who wants all that is there.
	if c := newTally(); l.Follow(t.Context(), event.Position{}, func(ks []event.Kept) error {
		if len(c.next) == 0 {
			c.next["a"] = ks[0].Seq
		}
		return c.take(ks)
	}) != nil || c.lost["a"] != 0 {
		t.Errorf("got %+v", c)
	}
}

func TestAgeIsBounded(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir, Run: event.Run{ID: "a"}})
	fill(l, 1, 10)
	closeLog(t, l)
	later := func() time.Time { return time.Now().Add(48 * time.Hour) }
	l = open(t, Options{Dir: dir, Run: event.Run{ID: "b"}, MaxAge: 24 * time.Hour, Now: later})
	fill(l, 1, 5)
	c := readAll(t, l, event.Position{Run: "a", Seq: 4})
	if c.lost["a"] != 6 || c.reasons[event.LossEvicted] != 6 || c.got["b"] != 5 {
		t.Errorf("got %+v", c)
	}
}

func TestOneAgentForADirectory(t *testing.T) {
	dir := memDir(t)
	open(t, Options{Dir: dir, Run: event.Run{ID: "a"}})
	if _, err := Open(Options{Dir: dir, Run: event.Run{ID: "b"}}); !errors.Is(err, errInUse) {
		t.Errorf("got %v", err)
	}
	for _, o := range []Options{{}, {Dir: dir}, {Dir: dir, Run: event.Run{ID: strings.Repeat("x", 50)}}, {Dir: dir, Run: event.Run{ID: "b"}, Sync: "x"},
		{Dir: dir, Run: event.Run{ID: "b"}, MaxBytes: 100}} {
		if _, err := Open(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

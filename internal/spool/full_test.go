package spool

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// troubles hands on what the log says of its state.
func troubles() (func(error), chan error) {
	c := make(chan error, 1000)
	return func(err error) { c <- err }, c
}

func next(t *testing.T, c chan error) error {
	t.Helper()
	select {
	case err := <-c:
		return err
	case <-time.After(patience):
		t.Fatal("nothing was told")
		return nil
	}
}

// TestDiskFull: the disk fills up, and has room again later. The log says so
// both times, what could not be written is a gap with its exact number, and
// nothing else is missing.
func TestDiskFull(t *testing.T) {
	dir := mount(t, "size=256k")
	tell, told := troubles()
	l := open(t, Options{Dir: filepath.Join(dir, "spool"), Head: filepath.Join(memDir(t), "head"), Run: event.Run{ID: "a"},
		SegmentBytes: 16 << 10, MaxBytes: 16 << 20, RetryEvery: 5 * time.Millisecond, Trouble: tell})
	ballast := filepath.Join(dir, "ballast")
	seq := uint64(0)
	for _, taken := range []int{170 << 10, 100 << 10, 30 << 10} { // each time there is a little more room
		if err := os.WriteFile(ballast, make([]byte, taken), 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			fill(l, seq+1, seq+50)
			seq += 50
			select {
			case err = <-told:
			default:
			}
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("told %v", err)
		}
		fill(l, seq+1, seq+500) // goes nowhere, and does not wait
		seq += 500
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if err := next(t, told); err != nil {
			t.Fatalf("told %v", err)
		}
	}
	fill(l, seq+1, seq+10)
	seq += 10
	c := readAll(t, l, event.Position{Run: "a"})
	if c.got["a"]+c.lost["a"] != seq || c.reasons[event.LossDamaged] != 0 || c.reasons[event.LossUnclean] != 0 {
		t.Errorf("of %d: %+v", seq, c)
	}
	n := l.Counters()
	if n["spool_lost_write"]+n["spool_lost_queue"] != c.reasons[event.LossWrite]+c.reasons[event.LossQueue] || n["spool_written"]+n["spool_lost_write"]+n["spool_lost_queue"] != seq {
		t.Errorf("counters %v, read %+v", n, c)
	}
}

// TestFloor: when others are left too little of the disk the oldest files go,
// then nothing is written any more; when there is room again, it is.
func TestFloor(t *testing.T) {
	dir := mount(t, "size=2m")
	tell, told := troubles()
	l := open(t, Options{Dir: filepath.Join(dir, "spool"), Head: filepath.Join(memDir(t), "head"), Run: event.Run{ID: "a"},
		SegmentBytes: 16 << 10, MaxBytes: 16 << 20, MinFree: 1 << 20, RetryEvery: 5 * time.Millisecond, Trouble: tell})
	seq := uint64(0)
	for l.Counters()["spool_lost_evicted"] == 0 {
		fill(l, seq+1, seq+500)
		seq += 500
		flushed(t, l)
	}
	ballast := filepath.Join(dir, "ballast")
	var err error
	for taken := 0; err == nil; {
		// The more the spool gives up, the more the others take.
		var st unix.Statfs_t
		if err := unix.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		taken = min(1200<<10, taken+int(st.Bavail)*int(st.Bsize)/2)
		if err := os.WriteFile(ballast, make([]byte, taken), 0o600); err != nil {
			t.Fatal(err)
		}
		fill(l, seq+1, seq+500)
		seq += 500
		select {
		case err = <-told:
		case <-time.After(time.Millisecond):
		}
	}
	if !errors.Is(err, errLow) {
		t.Fatalf("told %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := next(t, told); err != nil {
		t.Fatalf("told %v", err)
	}
	fill(l, seq+1, seq+10)
	seq += 10
	c := readAll(t, l, event.Position{Run: "a"})
	if c.got["a"]+c.lost["a"] != seq || c.reasons[event.LossEvicted] == 0 || c.reasons[event.LossWrite] == 0 || c.reasons[event.LossDamaged] != 0 {
		t.Errorf("of %d: %+v", seq, c)
	}
}

// TestReadOnly: the directory cannot be written when the agent starts, can later,
// cannot again. Nothing waits, everything is accounted for.
func TestReadOnly(t *testing.T) {
	dir := mount(t, "size=4m,ro")
	remount := func(flags uintptr) {
		t.Helper()
		if err := unix.Mount("spool-test", dir, "tmpfs", unix.MS_REMOUNT|flags, "size=4m"); err != nil {
			t.Fatal(err)
		}
	}
	tell, told := troubles()
	l := open(t, Options{Dir: filepath.Join(dir, "spool"), Head: filepath.Join(memDir(t), "head"), Run: event.Run{ID: "a"},
		SegmentBytes: 16 << 10, MaxBytes: 1 << 20, RetryEvery: 5 * time.Millisecond, Trouble: tell})
	if err := next(t, told); !errors.Is(err, unix.EROFS) {
		t.Fatalf("told %v", err)
	}
	fill(l, 1, 100)
	remount(0)
	if err := next(t, told); err != nil {
		t.Fatalf("told %v", err)
	}
	fill(l, 101, 200)
	flushed(t, l)
	c := readAll(t, l, event.Position{Run: "a"})
	if c.got["a"]+c.lost["a"] != 200 || c.got["a"] < 100 {
		t.Errorf("got %+v", c)
	}

	// The past of a read-only log can be read by a run that cannot write.
	remount(unix.MS_RDONLY)
	l = open(t, Options{Dir: filepath.Join(dir, "spool"), Head: filepath.Join(memDir(t), "head"), Run: event.Run{ID: "b"}, RetryEvery: 5 * time.Millisecond, Trouble: tell})
	if err := next(t, told); !errors.Is(err, unix.EROFS) {
		t.Fatalf("told %v", err)
	}
	l.Append(1, nil, true)
	closeLog(t, l)
}

package spool

import (
	"errors"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// errLow says that the disk has not enough room left for others.
var errLow = errors.New("the disk is too full")

// retain removes the oldest segments while there is too much, they are too old,
// or the disk is too full. The newest stays, and the open one. Readers that
// have a file open read it to its end.
func (w *writer) retain() {
	for {
		old, events := w.surplus()
		if old == nil || unlink(old.path) != nil {
			return
		}
		w.l.lost[event.LossEvicted].Add(events)
		w.l.mu.Lock()
		w.l.segments = w.l.segments[1:]
		w.l.tell()
		w.l.mu.Unlock()
	}
}

// surplus returns the oldest segment if it has to go, and how many events it
// stands for.
func (w *writer) surplus() (old *segment, events uint64) {
	low := !w.free()
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	n := len(w.l.segments)
	if n == 0 || w.l.segments[0] == w.seg {
		return nil, 0
	}
	old = w.l.segments[0]
	total := int64(0)
	for _, s := range w.l.segments {
		if s == w.seg {
			total += w.l.o.SegmentBytes // its blocks are taken already
		} else {
			total += s.limit
		}
	}
	if total <= w.l.o.MaxBytes && w.l.o.Now().Sub(old.last) <= w.l.o.MaxAge && !(low && n > 1) {
		return nil, 0
	}
	if n > 1 {
		return old, w.l.segments[1].first - old.first
	}
	return old, w.base + w.next - old.first
}

// free reports whether others find enough room on the disk. A disk that does
// not say has.
func (w *writer) free() bool {
	if w.l.o.MinFree <= 0 {
		return true
	}
	var st unix.Statfs_t
	if err := unix.Statfs(w.l.o.Dir, &st); err != nil {
		return true
	}
	return st.Bavail*uint64(st.Bsize) >= uint64(w.l.o.MinFree)
}

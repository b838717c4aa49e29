package spool

import "example.com/bailiff/internal/event"

// retain removes the oldest segments while there is too much, or they are too
// old. The open one stays. Readers that have a file open read it to its end.
func (w *writer) retain() {
	now := w.l.o.Now()
	for {
		w.l.mu.Lock()
		total := int64(0)
		for _, s := range w.l.segments {
			if s == w.seg {
				total += w.l.o.SegmentBytes // its blocks are taken already
			} else {
				total += s.limit
			}
		}
		var old *segment
		var events uint64
		if n := len(w.l.segments); n > 1 || n == 1 && w.l.segments[0] != w.seg {
			old = w.l.segments[0]
			if total <= w.l.o.MaxBytes && now.Sub(old.last) <= w.l.o.MaxAge {
				old = nil
			} else if n > 1 {
				events = w.l.segments[1].first - old.first
			} else {
				events = w.base + w.next - old.first
			}
		}
		w.l.mu.Unlock()
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

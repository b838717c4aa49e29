package spool

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// Follow gives everything after a position, in order: what is there, then what
// comes, until the context ends or the log is closed and read to its end (nil).
// What is missing stands as gaps. The slice and the bytes in it are valid
// during the call of yield only; the reader waits for yield and nobody waits
// for the reader. A position of a run that is not remembered begins at the
// oldest event, after a gap that says so; the zero position begins there
// without one.
func (l *Log) Follow(ctx context.Context, after event.Position, yield func([]event.Kept) error) error {
	r := reader{l: l, yield: yield}
	defer r.close()
	defer r.frames.unpacker.close()
	for {
		v := l.look(0)
		if v.ready {
			break
		}
		if v.ended {
			return nil
		}
		if err := wait(ctx, v.changed); err != nil {
			return err
		}
	}
	next, known := l.after(after)
	if !known {
		r.out = append(r.out, event.Kept{Gap: &event.KeptGap{Reason: event.LossUnknownCursor, AtLeast: true}})
		if err := r.flush(); err != nil {
			return err
		}
	}
	r.next = next
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		done, changed, err := r.step()
		if err != nil || done {
			return err
		}
		if changed != nil {
			if err := wait(ctx, changed); err != nil {
				return err
			}
		}
	}
}

func wait(ctx context.Context, changed chan struct{}) error {
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// view is what a reader must see at one moment.
type view struct {
	ready, ended bool
	changed      chan struct{}
	segments     []*segment
	limit        int64 // of the segment that was asked for
	sealed       bool  // or gone: nothing is added to it
}

func (l *Log) look(number uint64) view {
	l.mu.Lock()
	defer l.mu.Unlock()
	v := view{ready: l.ready, ended: l.ended, changed: l.changed, segments: l.segments, sealed: true}
	for _, s := range l.segments {
		if s.number == number {
			v.limit, v.sealed = s.limit, s.sealed
		}
	}
	return v
}

// tell wakes the readers. Under mu.
func (l *Log) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// after returns the index that follows a position; 0 stands for the oldest that
// is kept. A position behind the end of its run (what was acknowledged may have
// been lost with the power) is the end of the run.
func (l *Log) after(p event.Position) (next uint64, known bool) {
	if p.Run == "" {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range l.runs {
		if r.ID != p.Run {
			continue
		}
		end := l.Last().Seq
		if i+1 < len(l.runs) {
			end = l.runs[i+1].base - r.base
		}
		return r.base + min(p.Seq, end) + 1, true
	}
	return 0, false
}

// reader is one pass through the log.
type reader struct {
	l      *Log
	yield  func([]event.Kept) error
	next   uint64 // index of what comes next; 0: the oldest that is there
	passed uint64 // number of the newest segment that was read to its end
	seg    *segment
	f      *os.File
	frames frames
	limit  int64
	out    []event.Kept
}

func (r *reader) close() {
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
	r.seg = nil
}

// step reads one frame, or goes on to another segment. It returns a channel if
// there is nothing to do until it is closed.
func (r *reader) step() (done bool, changed chan struct{}, err error) {
	if r.seg == nil {
		v := r.l.look(0)
		there, err := r.choose(v.segments)
		if err != nil {
			return false, nil, err
		}
		if there {
			return false, nil, r.flush()
		}
		return v.ended, v.changed, nil
	}
	f, ok, err := r.frames.next(r.limit)
	if err != nil { // the disk does not give it back: what is left of the file is lost
		r.frames.off, ok = r.limit, false
	}
	if ok {
		r.deliver(&f)
		return false, nil, r.flush()
	}
	v := r.l.look(r.seg.number)
	switch {
	case v.limit > r.limit:
		r.limit = v.limit
	case v.sealed:
		r.passed = r.seg.number
		r.close()
	default:
		return v.ended, v.changed, nil
	}
	return false, nil, nil
}

// choose opens the segment in which the next event is, or the nearest after it.
func (r *reader) choose(segments []*segment) (bool, error) {
	var s *segment
	for _, c := range segments {
		if c.number > r.passed && (s == nil || c.first <= r.next) {
			s = c
		}
	}
	if s == nil {
		return false, nil
	}
	if r.next == 0 {
		r.next = s.first
	}
	if s.first > r.next && s == segments[0] {
		r.gap(r.next, s.first, event.LossEvicted, false)
	}
	f, err := os.Open(s.path)
	switch {
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE), errors.Is(err, unix.ENOMEM):
		// Not the file's fault: the reader may come again, nothing is lost.
		return false, fmt.Errorf("open segment: %w", err)
	case err != nil:
		r.passed = s.number // removed in this moment, or not to be had: a gap will show it
		return true, nil
	}
	v := r.l.look(s.number)
	r.seg, r.f, r.limit = s, f, v.limit
	r.frames = frames{f: f, salt: s.run.salt, off: segmentHeader, buf: r.frames.buf, unpacker: r.frames.unpacker}
	return true, nil
}

// deliver turns a frame into what is kept there, with gaps for what is not.
func (r *reader) deliver(f *frame) {
	switch {
	case f.kind == kindGap && f.count == 0 && f.first >= r.next:
		r.gap(r.next, f.first, event.LossDamaged, false)
		r.gap(f.first, f.first, f.reason, f.atLeast)
		return
	case f.end() <= r.next && f.kind != kindEnd:
		return
	}
	if f.first > r.next {
		r.gap(r.next, f.first, event.LossDamaged, false)
	}
	switch f.kind {
	case kindGap:
		r.gap(r.next, f.end(), f.reason, f.atLeast)
	case kindRecords:
		b := f.payload
		for i := f.first; i < f.end(); i++ {
			record, rest, _ := cutRecord(b)
			b = rest
			if i >= r.next {
				r.out = append(r.out, event.Kept{Run: r.seg.run.Run, Seq: i - r.seg.run.base, Data: record})
			}
		}
		r.next = f.end()
	}
}

// gap appends gaps for the indexes from up to, but without, to: one for each
// run. With none, one that only says that something is missing.
func (r *reader) gap(from, to uint64, why event.LossReason, atLeast bool) {
	r.l.mu.Lock()
	runs := r.l.runs
	r.l.mu.Unlock()
	if from >= to && atLeast {
		g := event.Kept{Gap: &event.KeptGap{Reason: why, AtLeast: true}}
		for _, run := range runs {
			if run.base < from-1 || g.Run.ID == "" {
				g.Run = run.Run
			}
		}
		r.out = append(r.out, g)
	}
	for from < to {
		g := event.Kept{Gap: &event.KeptGap{Reason: why}}
		end, base := to, uint64(0)
		for _, run := range runs {
			if run.base < from {
				g.Run, base = run.Run, run.base
			} else {
				end = min(end, run.base+1)
				break
			}
		}
		g.Gap.First, g.Gap.Last, g.Gap.Count = from-base, end-1-base, end-from
		g.Gap.AtLeast = atLeast && end == to
		r.out = append(r.out, g)
		from = end
	}
	r.next = max(r.next, to)
}

func (r *reader) flush() error {
	if len(r.out) == 0 {
		return nil
	}
	err := r.yield(r.out)
	clear(r.out)
	r.out = r.out[:0]
	return err
}

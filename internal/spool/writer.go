package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// writer is the one goroutine that touches the disk.
type writer struct {
	l        *Log
	lock     *os.File
	dir      unix.Stat_t
	prepared bool
	report   *event.SpoolReport // to be told
	runEntry
	number uint64 // of the newest segment

	f       *os.File // the open segment, nil if there is none
	seg     *segment
	off     int64
	created time.Time

	batches []batch
	buf     []byte
	packer  *packer // nil: frames are written as they are
	unclean *frame  // what the run before has lost, still to be written
	gaps    []batch // what this run has lost, still to be written
	next    uint64  // sequence number of the next event to write or to declare lost

	dirty   bool // something is written and not synced
	trouble error
	retryAt time.Time
}

// maxGaps bounds what is noted while nothing can be written; then reasons are
// merged, numbers stay exact.
const maxGaps = 64

func (w *writer) run(unprepared error) {
	defer close(w.l.done)
	w.next = 1
	if unprepared != nil {
		w.fail(unprepared)
	}
	linger := time.NewTimer(time.Hour)
	defer linger.Stop()
	tick := time.NewTicker(min(w.l.o.SyncEvery, w.l.o.RetryEvery))
	defer tick.Stop()
	w.tellReport()
	for {
		select {
		case <-w.l.more:
			linger.Reset(w.l.o.Linger)
			select {
			case <-linger.C:
			case <-w.l.now:
			case <-w.l.stop:
			}
			w.flush()
		case <-tick.C:
			w.tick()
		case <-w.l.stop:
			w.flush()
			w.end()
			return
		}
	}
}

// flush writes all that is queued.
func (w *writer) flush() {
	var urgent bool
	w.batches, urgent = w.l.take(w.batches[:0])
	for i := range w.batches {
		w.put(&w.batches[i])
		w.l.reuse(w.batches[i].buf)
	}
	clear(w.batches)
	if w.dirty && (w.l.o.Sync == SyncAlways || urgent && w.l.o.Sync == SyncInterval) {
		w.sync()
	}
	w.publish()
}

// put writes one batch, or notes that it is lost.
func (w *writer) put(b *batch) {
	w.next = b.first + b.count
	if b.lost != event.LossNone {
		w.note(batch{first: b.first, count: b.count, lost: b.lost})
		return
	}
	err := w.trouble
	if err == nil || !w.l.o.Now().Before(w.retryAt) {
		err = w.write(b)
	}
	if err != nil {
		w.l.lost[event.LossWrite].Add(b.count)
		w.note(batch{first: b.first, count: b.count, lost: event.LossWrite})
		w.fail(err)
		return
	}
	w.recovered()
}

// note keeps a gap until it can be written.
func (w *writer) note(b batch) {
	if n := len(w.gaps); n > 0 && (w.gaps[n-1].lost == b.lost || n >= maxGaps) {
		w.gaps[n-1].count += b.count
		return
	}
	w.gaps = append(w.gaps, b)
}

// fail enters, or stays in, the state in which nothing can be kept.
func (w *writer) fail(err error) {
	if w.trouble == nil {
		w.l.o.Trouble(err)
	}
	if w.trouble == nil || !w.l.o.Now().Before(w.retryAt) {
		w.retryAt = w.l.o.Now().Add(w.l.o.RetryEvery)
	}
	w.trouble = err
}

func (w *writer) recovered() {
	if w.trouble != nil {
		w.trouble = nil
		w.l.o.Trouble(nil)
	}
}

func (w *writer) tellReport() {
	if w.report != nil {
		w.l.o.Opened(*w.report)
		w.report = nil
	}
}

// write puts the gaps that stand before b, and b, at the end of the log. b may
// be nil.
func (w *writer) write(b *batch) error {
	if !w.prepared {
		if err := w.prepare(); err != nil {
			return err
		}
		w.tellReport()
	}
	first := w.base + w.next
	switch {
	case w.unclean != nil:
		first = w.unclean.first
	case len(w.gaps) > 0:
		first = w.base + w.gaps[0].first
	case b != nil:
		first = w.base + b.first
	}
	if err := w.room(first); err != nil {
		return err
	}
	if w.unclean != nil {
		if err := w.frame(w.unclean); err != nil {
			return err
		}
		w.unclean = nil
	}
	for len(w.gaps) > 0 {
		g := w.gaps[0]
		if err := w.frame(&frame{kind: kindGap, reason: g.lost, first: w.base + g.first, count: g.count}); err != nil {
			return err
		}
		w.gaps = w.gaps[1:]
	}
	w.gaps = nil
	if b == nil {
		return nil
	}
	if err := w.frame(&frame{kind: kindRecords, first: w.base + b.first, count: b.count, payload: b.buf}); err != nil {
		return err
	}
	w.l.written.Add(b.count)
	return nil
}

// frame appends one frame to the open segment, whole or not at all.
func (w *writer) frame(f *frame) error {
	f.time = w.l.o.Now().UnixNano()
	if w.packer != nil && f.kind == kindRecords {
		w.packer.pack(f)
	}
	w.buf = appendFrame(w.buf[:0], f, w.salt)
	n, err := w.f.WriteAt(w.buf, w.off)
	if err != nil {
		if n > 0 {
			err = errors.Join(err, w.f.Truncate(w.off))
		}
		// A full disk may have room again; another failure may be of the file.
		if !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EDQUOT) {
			w.seal()
		}
		return fmt.Errorf("write segment: %w", err)
	}
	w.off += int64(n)
	w.dirty = true
	return nil
}

// room opens a segment, a new one if the open one is full or old.
func (w *writer) room(first uint64) error {
	now := w.l.o.Now()
	if w.f != nil && (w.off >= w.l.o.SegmentBytes || now.Sub(w.created) > w.l.o.MaxAge/8) {
		w.sync()
		w.seal()
	}
	if w.f != nil {
		return nil
	}
	if !w.free() {
		return fmt.Errorf("make segment: %w: %d bytes are to stay free", errLow, w.l.o.MinFree)
	}
	s := &segment{number: w.number + 1, first: first, limit: segmentHeader, last: now, run: w.runEntry}
	s.path = filepath.Join(w.l.o.Dir, segmentName(s.number, first))
	f, err := os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make segment: %w", err)
	}
	// Blocks that are there already make each sync cheaper. Not every
	// filesystem can; writing will tell if there is no room.
	_ = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, w.l.o.SegmentBytes)
	_, err = f.WriteAt(s.header(now), 0)
	if err == nil && w.l.o.Sync != SyncNever {
		err = syncDir(w.l.o.Dir)
	}
	if err != nil {
		f.Close()
		return errors.Join(fmt.Errorf("begin segment: %w", err), unlink(s.path))
	}
	w.f, w.seg, w.off, w.created, w.number = f, s, segmentHeader, now, s.number
	w.l.mu.Lock()
	w.l.segments = append(w.l.segments, s)
	w.l.mu.Unlock()
	w.retain()
	return nil
}

// publish lets readers see what is written.
func (w *writer) publish() {
	if w.seg == nil {
		return
	}
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	if w.seg.limit != w.off {
		w.seg.limit, w.seg.last = w.off, w.l.o.Now()
		w.l.tell()
	}
}

// seal closes the open segment; what readers may see of it is what is whole.
func (w *writer) seal() {
	if w.f == nil {
		return
	}
	w.publish()
	_ = w.f.Truncate(w.off) // gives back blocks that were not used
	w.f.Close()
	w.l.mu.Lock()
	w.seg.sealed = true
	w.l.tell()
	w.l.mu.Unlock()
	w.f, w.seg, w.dirty = nil, nil, false
}

// sync makes what is written last. After a failure the kernel may have dropped
// pages: a new segment is begun.
func (w *writer) sync() {
	if w.f == nil || !w.dirty || w.l.o.Sync == SyncNever {
		return
	}
	w.dirty = false
	w.l.syncs.Add(1)
	if err := unix.Fdatasync(int(w.f.Fd())); err != nil {
		w.fail(fmt.Errorf("sync segment, what was written since the last time may be lost: %w", err))
		w.seal()
	}
}

// tick does what is due without an event.
func (w *writer) tick() {
	w.sync()
	if now := w.l.o.Now(); w.trouble != nil && !now.Before(w.retryAt) {
		if err := w.write(nil); err != nil {
			w.fail(err)
		} else {
			w.recovered()
		}
	}
	if w.trouble == nil && (len(w.gaps) > 0 || w.unclean != nil) {
		if err := w.write(nil); err != nil {
			w.fail(err)
		}
	}
	w.publish()
	w.retain()
}

// end writes that the run ended well, and frees everything.
func (w *writer) end() {
	err := w.write(nil)
	if err == nil {
		err = w.frame(&frame{kind: kindEnd, first: w.base + w.next})
	}
	if err != nil {
		w.fail(err)
	}
	w.sync()
	w.seal()
	w.l.queueMu.Lock()
	if w.l.head != nil {
		w.l.head.close()
		w.l.head = nil
	}
	w.l.queueMu.Unlock()
	if w.lock != nil {
		w.lock.Close()
	}
	w.l.mu.Lock()
	w.l.ended = true
	w.l.tell()
	w.l.mu.Unlock()
}

// appendRecord appends an event to a payload.
func appendRecord(buf, b []byte) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(b)))
	return append(buf, b...)
}

// Package spool keeps the stream of events on disk: a log in segments, with
// checksums, bounded in size and age, from which anybody can read on where they
// stopped. What it cannot keep it counts, and a gap stands in its place; it
// never makes the caller wait. docs/design/0004-spool.md says why it is so.
package spool

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"example.com/bailiff/internal/event"
)

// Sync says when what was written is made to outlast a power failure. What was
// written outlasts the death of the agent in any case.
type Sync string

// The values of Sync.
const (
	SyncAlways   Sync = "always"   // before anybody can read it
	SyncInterval Sync = "interval" // each Options.SyncEvery, and at once for urgent events
	SyncNever    Sync = "never"    // when the kernel likes
)

// Compression says how frames are packed.
type Compression string

// The values of Compression.
const (
	CompressNone Compression = "none"
	CompressZstd Compression = "zstd" // a fifth of the disk for twice the processor time of the spool
)

// Options is what a Log is made of. Dir and Run are required.
type Options struct {
	Dir string // directory of the log, made if it is not there
	// Acts is asked, for a run that was killed, how many acts it was told of by
	// who counts them outside of the agent; not known: false. What it had read and
	// not yet numbered, or not yet read, is then lost by an exact number. Nil: the
	// log is told of everything at once.
	Acts func(run string) (uint64, bool)
	Head string    // file of the page that survives a killed agent, best on a tmpfs; default Dir/head
	Run  event.Run // this run

	SegmentBytes int64         // size of one file; default an eighth of MaxBytes, at most 16 MiB
	MaxBytes     int64         // of all files; default 1 GiB
	MaxAge       time.Duration // of what is kept; default 7 days
	MinFree      int64         // bytes that others find free on the disk: below it the oldest files go, and at last nothing is written; default none
	Compress     Compression   // of what is written; what is there is read in any case; default CompressNone
	Sync         Sync          // default SyncInterval
	SyncEvery    time.Duration // default 1 s
	Linger       time.Duration // how long an event may wait for company before it is written; default 10 ms
	QueueBytes   int           // events that wait for the disk; default 8 MiB
	RetryEvery   time.Duration // how long nothing is tried after a failure; default 1 s

	// Trouble is told when events cannot be kept, and with nil when they are
	// again. It is called without locks, by one goroutine, never by the caller's.
	Trouble func(error)
	// Opened is told, once, what was found in the directory; by the same goroutine.
	Opened func(event.SpoolReport)
	Now    func() time.Time // default time.Now
}

// Log is a durable log of events. Its methods may be called from any goroutine.
type Log struct {
	o Options

	queueMu sync.Mutex
	queue   []batch
	queued  int      // bytes in it
	spare   [][]byte // buffers of batches that were written
	seq     uint64   // of the newest event
	notices uint64   // up to it: what is no act
	urgent  bool     // one of the queue is
	head    *head    // nil while there is none
	shut    bool

	more chan struct{} // has one entry when the queue is not empty
	now  chan struct{} // has one entry when the queue is to be written at once
	stop chan struct{}
	done chan struct{}

	mu       sync.Mutex
	ready    bool // the directory was read
	runs     []runEntry
	segments []*segment
	ended    bool
	changed  chan struct{} // closed when any of this changes

	cursorMu sync.Mutex

	written, syncs atomic.Uint64
	lost           [event.NumLossReasons]atomic.Uint64
}

// batch is some events in the form of a frame's payload, or events that are
// lost.
type batch struct {
	first, count uint64 // sequence numbers
	lost         event.LossReason
	buf          []byte
}

// Open starts a log. A directory that cannot be used now is no error: the log
// then loses what it is given, says so, and tries again. Wrong options are, and
// so is a directory that another process has.
func Open(o Options) (*Log, error) {
	switch {
	case o.Dir == "":
		return nil, errors.New("open spool: no directory")
	case o.Run.ID == "" || len(o.Run.ID) > maxText || len(o.Run.Boot) > maxText:
		return nil, fmt.Errorf("open spool: a run needs an id, and names of at most %d bytes", maxText)
	case o.Sync != "" && o.Sync != SyncAlways && o.Sync != SyncInterval && o.Sync != SyncNever:
		return nil, fmt.Errorf("open spool: %q is not one of always, interval, never", o.Sync)
	}
	if o.Compress != "" && o.Compress != CompressNone && o.Compress != CompressZstd {
		return nil, fmt.Errorf("open spool: %q is not one of none, zstd", o.Compress)
	}
	def(&o.Head, o.Dir+"/head")
	def(&o.MaxBytes, 1<<30)
	def(&o.SegmentBytes, min(o.MaxBytes/8, 16<<20))
	def(&o.MaxAge, 7*24*time.Hour)
	def(&o.Sync, SyncInterval)
	def(&o.SyncEvery, time.Second)
	def(&o.Linger, 10*time.Millisecond)
	def(&o.QueueBytes, 8<<20)
	def(&o.RetryEvery, time.Second)
	if o.MaxBytes < 2*o.SegmentBytes || o.SegmentBytes < 4096 {
		return nil, fmt.Errorf("open spool: %d bytes are too few for files of %d", o.MaxBytes, o.SegmentBytes)
	}
	if o.Trouble == nil {
		o.Trouble = func(error) {}
	}
	if o.Opened == nil {
		o.Opened = func(event.SpoolReport) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Log{
		o: o, more: make(chan struct{}, 1), now: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
	}
	w := &writer{l: l}
	if o.Compress == CompressZstd {
		w.packer = newPacker()
	}
	err := w.prepare()
	if errors.Is(err, errInUse) {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	go w.run(err)
	return l, nil
}

func def[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Append takes the act with this number, in the form in which readers will get
// it; b is copied. Numbers rise from 1; what is left out was lost before it came
// here (ring full). It never waits for the disk. urgent events are written at
// once and synced unless Sync is never.
func (l *Log) Append(seq uint64, b []byte, urgent bool) { l.add(seq, b, urgent, false) }

// AppendNotice is Append for a record about the agent itself, which is urgent
// and no act.
func (l *Log) AppendNotice(seq uint64, b []byte) { l.add(seq, b, true, true) }

func (l *Log) add(seq uint64, b []byte, urgent, notice bool) {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	if seq <= l.seq {
		return // was here
	}
	if skipped := seq - l.seq - 1; skipped > 0 {
		l.lose(l.seq+1, skipped, event.LossRing)
	}
	l.seq = seq
	if notice {
		l.notices++
	}
	if l.head != nil && !l.head.set(seq, l.notices) {
		l.head = nil
	}
	switch {
	case l.shut:
		l.lost[event.LossWrite].Add(1)
		return
	case len(b) > maxRecord:
		l.lose(seq, 1, event.LossOversize)
	case l.queued+len(b) > l.o.QueueBytes:
		l.lose(seq, 1, event.LossQueue)
	default:
		l.enqueue(seq, b)
	}
	l.urgent = l.urgent || urgent
	wake(l.more)
	if urgent || l.queued > l.o.QueueBytes/4 {
		wake(l.now)
	}
}

func (l *Log) enqueue(seq uint64, b []byte) {
	n := len(l.queue)
	if n == 0 || l.queue[n-1].lost != event.LossNone || len(l.queue[n-1].buf)+len(b) > targetFrame {
		var buf []byte
		if k := len(l.spare); k > 0 {
			buf, l.spare = l.spare[k-1][:0], l.spare[:k-1]
		} else if n > 0 { // a busy time: this one is going to be full
			buf = make([]byte, 0, targetFrame)
		}
		l.queue = append(l.queue, batch{first: seq, buf: buf})
		n++
	}
	t := &l.queue[n-1]
	before := len(t.buf)
	t.buf = appendRecord(t.buf, b)
	t.count++
	l.queued += len(t.buf) - before
}

// lose notes events that will not be written. Under queueMu.
func (l *Log) lose(first, count uint64, why event.LossReason) {
	l.lost[why].Add(count)
	if n := len(l.queue); n > 0 && l.queue[n-1].lost == why {
		l.queue[n-1].count += count
		return
	}
	l.queue = append(l.queue, batch{first: first, count: count, lost: why})
}

// take empties the queue.
func (l *Log) take(into []batch) (_ []batch, urgent bool) {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	into = append(into, l.queue...)
	clear(l.queue)
	l.queue, l.queued = l.queue[:0], 0
	urgent, l.urgent = l.urgent, false
	return into, urgent
}

// reuse gives back a buffer.
func (l *Log) reuse(buf []byte) {
	if cap(buf) == 0 || cap(buf) > 4*targetFrame {
		return
	}
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	if len(l.spare) < 32 {
		l.spare = append(l.spare, buf)
	}
}

// Close writes what is queued, notes that the run ended well, and frees the
// directory. It waits for the disk at most for the given time.
func (l *Log) Close(within time.Duration) error {
	l.queueMu.Lock()
	already := l.shut
	l.shut = true
	l.queueMu.Unlock()
	if !already {
		close(l.stop)
	}
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-l.done:
		return nil
	case <-t.C:
		return fmt.Errorf("close spool: the disk did not take what was left within %v", within)
	}
}

// Last is the position of the newest event that was appended.
func (l *Log) Last() event.Position {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	return event.Position{Run: l.o.Run.ID, Seq: l.seq}
}

// Counters returns what was counted since Open, by name: spool_written,
// spool_syncs, spool_lost_<reason>; and spool_bytes, spool_segments as they are.
func (l *Log) Counters() map[string]uint64 {
	out := map[string]uint64{"spool_written": l.written.Load(), "spool_syncs": l.syncs.Load()}
	for r := range l.lost {
		if n := l.lost[r].Load(); n > 0 {
			out["spool_lost_"+event.LossReason(r).String()] = n
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.segments {
		out["spool_bytes"] += uint64(s.limit)
	}
	out["spool_segments"] = uint64(len(l.segments))
	return out
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// unlink removes a file; one that is gone is removed.
func unlink(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove segment: %w", err)
	}
	return nil
}

package spool

import (
	"encoding/binary"
	"io"
	"os"
	"slices"
	"time"

	"example.com/bailiff/internal/event"
)

// State is what the log holds, and who reads it.
type State struct {
	Dir       string
	Bytes     uint64
	MaxBytes  uint64
	Segments  int
	Oldest    time.Time // no event that is kept is older; zero: none is kept, or nobody knows
	Consumers []Consumer
}

// Consumer is a named cursor.
type Consumer struct {
	Name   string
	At     event.Position // what it has acknowledged; zero: nothing
	Behind uint64         // events that came after that, those that are lost included
	Known  bool           // false: its cursor is damaged, or of a run that nobody remembers
}

// State looks at the log; it reads the cursors and the head of one file.
func (l *Log) State() State {
	s := State{Dir: l.o.Dir, MaxBytes: uint64(l.o.MaxBytes)}
	l.mu.Lock()
	oldest, first := "", uint64(0)
	for i, seg := range l.segments {
		if i == 0 {
			oldest, first = seg.path, seg.first
		}
		s.Bytes += uint64(seg.limit)
	}
	s.Segments = len(l.segments)
	var base uint64
	if n := len(l.runs); n > 0 {
		base = l.runs[n-1].base
	}
	l.mu.Unlock()
	if oldest != "" {
		s.Oldest = madeAt(oldest)
	}
	end := base + l.Last().Seq
	names := l.Consumers()
	slices.Sort(names)
	for _, name := range names {
		c := Consumer{Name: name}
		at, err := l.Acknowledged(name)
		next, known := l.after(at)
		if c.At, c.Known = at, err == nil && known; c.Known {
			if next = max(next, first); next <= end {
				c.Behind = end + 1 - next
			}
		}
		s.Consumers = append(s.Consumers, c)
	}
	return s
}

// madeAt reads out of its head when a segment was begun.
func madeAt(path string) time.Time {
	f, err := os.Open(path)
	if err != nil {
		return time.Time{}
	}
	defer f.Close()
	b := make([]byte, segmentHeader)
	if _, err := io.ReadFull(f, b); err != nil || sum(0, b[12:]) != binary.LittleEndian.Uint32(b[8:]) {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.LittleEndian.Uint64(b[32:])))
}

package spool

import "example.com/bailiff/internal/event"

// Behind is how many events come after a position, those that are lost by now
// included. From a run that is not remembered it is all that is kept.
func (l *Log) Behind(p event.Position) uint64 {
	next, _ := l.after(p)
	last := l.Last().Seq
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.runs) == 0 {
		return last // the directory is still being read
	}
	if len(l.segments) > 0 {
		next = max(next, l.segments[0].first)
	}
	end := l.runs[len(l.runs)-1].base + last
	if next > end {
		return 0
	}
	return end - next + 1
}

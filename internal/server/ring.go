package server

import (
	"sync"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// ring holds what one subscriber has yet to read. When it is full the oldest
// event makes room and is counted as lost; whoever puts never waits.
type ring struct {
	mu    sync.Mutex
	buf   []entry // circular, its length is the capacity
	start int
	n     int
	lost  bailiffv1.Gap // of what stood before start; Count 0: nothing
	shut  bool
	more  chan struct{} // has one entry when there is something to take
}

// entry is an event in its wire form, which all subscribers share, or a gap.
type entry struct {
	seq uint64 // of the event; the last one of the gap
	b   []byte
	gap *bailiffv1.Gap
}

func newRing(capacity int) *ring {
	return &ring{buf: make([]entry, capacity), more: make(chan struct{}, 1)}
}

func (r *ring) put(e entry) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		return
	}
	if r.n == len(r.buf) {
		old := r.buf[r.start]
		first, count := old.seq, uint64(1)
		if old.gap != nil {
			first, count = old.gap.GetFirstSeq(), old.gap.GetCount()
		}
		if r.lost.Count == 0 {
			r.lost.FirstSeq = first
		}
		r.lost.Count += count
		r.lost.LastSeq = old.seq
		r.start = (r.start + 1) % len(r.buf)
		r.n--
	}
	r.buf[(r.start+r.n)%len(r.buf)] = e
	r.n++
	r.wake()
}

// take moves into out what fits, a gap first if there is one, in the order in
// which things happened. open is false when nothing will come any more.
func (r *ring) take(out *batch) (open bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost.Count > 0 {
		out.gap(&bailiffv1.Gap{
			Count: r.lost.Count, FirstSeq: r.lost.FirstSeq, LastSeq: r.lost.LastSeq,
			Reason: bailiffv1.GapReason_GAP_REASON_SLOW_CLIENT,
		})
		r.lost.Count = 0
	}
	for r.n > 0 && !out.full() {
		if e := &r.buf[r.start]; e.gap != nil {
			out.gap(e.gap)
		} else {
			out.event(e.b)
		}
		r.buf[r.start] = entry{}
		r.start = (r.start + 1) % len(r.buf)
		r.n--
	}
	if r.n > 0 {
		r.wake()
	}
	return !r.shut || r.n > 0
}

// close lets the reader take what is there, and no more.
func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.shut = true
	r.wake()
}

func (r *ring) wake() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

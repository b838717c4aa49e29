package server

import (
	"bytes"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// Identity says which run of which agent on which boot events come from.
type Identity struct {
	Version string // of the agent
	BootID  string // /proc/sys/kernel/random/boot_id
	RunID   string // of this agent run: sequence numbers start anew with it
}

// Bounds of a Hub.
const (
	DefaultBuffer  = 4096 // events kept for a subscriber that does not say
	MaxBuffer      = 65536
	MaxSubscribers = 64
)

// Hub hands events to subscribers. It is a sink of the enforcer: Emit filters,
// encodes at most once for all, and never waits for anybody.
type Hub struct {
	Identity

	mu      sync.RWMutex
	subs    map[*subscriber]struct{}
	closed  bool
	readers int // streams out of the spool

	spool Spool  // nil: none; set before the first event
	buf   []byte // for Emit

	lastSeq  atomic.Uint64
	lost     atomic.Uint64
	streamed atomic.Uint64
	opened   atomic.Uint64
}

// subscriber is one client of the stream.
type subscriber struct {
	filter Filter
	ring   *ring
}

// NewHub returns a hub without subscribers.
func NewHub(id Identity) *Hub { return &Hub{Identity: id, subs: map[*subscriber]struct{}{}} }

// Emit gives e to everyone who wants it. It implements enforcer.Sink: calls
// come one at a time, in order of Seq, and e is not kept.
func (h *Hub) Emit(e *event.Event) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if last := h.lastSeq.Swap(e.Seq); e.Seq > last+1 {
		h.missing(last+1, e.Seq-1)
	}
	var wire []byte
	if h.spool != nil {
		h.keep(e)
	}
	for s := range h.subs {
		if !s.filter.Match(e) {
			continue
		}
		if wire == nil && h.spool != nil {
			wire = bytes.Clone(h.buf)
		} else if wire == nil {
			wire = AppendEvent(nil, e)
		}
		s.ring.put(entry{seq: e.Seq, b: wire})
	}
}

// missing tells every subscriber of numbers that were given to acts of which
// the kernel could not tell. The spool sees for itself.
func (h *Hub) missing(first, last uint64) {
	g := &bailiffv1.Gap{Count: last - first + 1, FirstSeq: first, LastSeq: last, Reason: bailiffv1.GapReason_GAP_REASON_RING_FULL}
	for s := range h.subs {
		s.ring.put(entry{seq: last, gap: g})
	}
}

// subscribe adds a subscriber and returns its first record.
func (h *Hub) subscribe(f Filter, buffer uint32) (*subscriber, *bailiffv1.Start, error) {
	switch {
	case buffer == 0:
		buffer = DefaultBuffer
	case buffer > MaxBuffer:
		buffer = MaxBuffer
	}
	s := &subscriber{filter: f, ring: newRing(int(buffer))}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, errStopping
	}
	if len(h.subs)+h.readers >= MaxSubscribers {
		return nil, nil, errTooMany()
	}
	h.subs[s] = struct{}{}
	h.opened.Add(1)
	return s, &bailiffv1.Start{
		AgentVersion: h.Version, BootId: h.BootID, RunId: h.RunID, AfterSeq: h.lastSeq.Load(), Buffer: buffer,
	}, nil
}

func (h *Hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

// Close ends all streams, each after what is in its buffer.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subs {
		s.ring.close()
	}
}

// LastSeq is the sequence number of the newest event; 0 before the first.
func (h *Hub) LastSeq() uint64 { return h.lastSeq.Load() }

// Subscribers is the number of open streams.
func (h *Hub) Subscribers() int {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return len(h.subs) + h.readers
}

// Counters returns what the hub counted: stream_opened, subscriptions so far;
// stream_events and stream_lost, events sent to and lost by subscribers, each
// subscriber counted for itself.
func (h *Hub) Counters() map[string]uint64 {
	return map[string]uint64{"stream_opened": h.opened.Load(), "stream_events": h.streamed.Load(), "stream_lost": h.lost.Load()}
}

var errStopping = status.Error(codes.Unavailable, "the agent stops")

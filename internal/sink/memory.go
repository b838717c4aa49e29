package sink

import (
	"context"
	"slices"
	"sync"

	"example.com/bailiff/internal/event"
)

// Bounds of a Memory that does not say.
const (
	memoryEvents = 8192
	memoryBytes  = 8 << 20
)

// Memory is the log of one way out when the agent keeps no spool: events stay
// until they were acknowledged or there are too many; then the oldest go, and a
// gap stands in their place. Nothing of it outlasts the agent.
type Memory struct {
	run       event.Run
	maxEvents int
	maxBytes  int

	mu      sync.Mutex
	kept    []entry // rising numbers
	bytes   int
	acked   uint64 // everything up to here was acknowledged
	seq     uint64 // newest number
	closed  bool
	changed chan struct{} // closed and replaced at each change
}

type entry struct {
	seq  uint64
	data []byte
}

// NewMemory makes a log for one consumer. Bounds of 0 are the defaults: 8192
// events, 8 MiB.
func NewMemory(run event.Run, maxEvents, maxBytes int) *Memory {
	def(&maxEvents, memoryEvents)
	def(&maxBytes, memoryBytes)
	return &Memory{run: run, maxEvents: maxEvents, maxBytes: maxBytes, changed: make(chan struct{})}
}

// Append takes the event with this number; b must not change any more. It
// never waits.
func (m *Memory) Append(seq uint64, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || seq <= m.seq {
		return
	}
	m.seq = seq
	m.kept = append(m.kept, entry{seq, b})
	m.bytes += len(b)
	for len(m.kept) > m.maxEvents || m.bytes > m.maxBytes && len(m.kept) > 1 {
		m.drop()
	}
	m.tell()
}

// drop forgets the oldest. Under mu.
func (m *Memory) drop() {
	m.bytes -= len(m.kept[0].data)
	m.kept[0] = entry{}
	m.kept = m.kept[1:]
}

func (m *Memory) tell() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Close ends the log: readers come to its end.
func (m *Memory) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.tell()
}

// Follow implements Log.
func (m *Memory) Follow(ctx context.Context, after event.Position, yield func([]event.Kept) error) error {
	next := after.Seq + 1
	for {
		ks, changed, ended := m.from(&next)
		if len(ks) > 0 {
			if err := yield(ks); err != nil {
				return err
			}
			continue
		}
		if ended {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// from returns some of what stands at *next and after it.
func (m *Memory) from(next *uint64) (out []event.Kept, changed chan struct{}, ended bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, _ := slices.BinarySearchFunc(m.kept, *next, func(e entry, n uint64) int {
		if e.seq < n {
			return -1
		}
		return 1
	})
	for _, e := range m.kept[i:min(len(m.kept), i+256)] {
		if e.seq > *next {
			out = append(out, event.Kept{Run: m.run, Gap: &event.KeptGap{
				First: *next, Last: e.seq - 1, Count: e.seq - *next, Reason: event.LossEvicted,
			}})
		}
		out = append(out, event.Kept{Run: m.run, Seq: e.seq, Data: e.data})
		*next = e.seq + 1
	}
	return out, m.changed, m.closed
}

// Acknowledged implements Log.
func (m *Memory) Acknowledged(string) (event.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return event.Position{Run: m.run.ID, Seq: m.acked}, nil
}

// Acknowledge implements Log.
func (m *Memory) Acknowledge(_ string, p event.Position) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acked = max(m.acked, min(p.Seq, m.seq))
	for len(m.kept) > 0 && m.kept[0].seq <= m.acked {
		m.drop()
	}
	return nil
}

// Behind implements Log.
func (m *Memory) Behind(p event.Position) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p.Seq > m.seq {
		return 0
	}
	return m.seq - p.Seq
}

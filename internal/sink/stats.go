package sink

import (
	"sync"
	"time"

	"example.com/bailiff/internal/event"
)

// Stats is what a way out has counted since the agent started, and where it is.
type Stats struct {
	Events   uint64 `json:"events"`   // delivered and confirmed, without those that the format left out
	Records  uint64 `json:"records"`  // the same in records: one event may make two
	Retried  uint64 `json:"retried"`  // records that were sent and had to be sent again
	Rejected uint64 `json:"rejected"` // records that the receiver will never take: lost
	Lost     uint64 `json:"lost"`     // events that were lost before this way out could read them; it tells them as gaps
	Failures uint64 `json:"failures"` // tries that ended in an error

	Lag        uint64        `json:"lag"`         // events that wait
	LagTime    time.Duration `json:"lag_time"`    // age of the newest event that was delivered, while others wait
	Failing    bool          `json:"failing"`     // the last try failed
	LastError  string        `json:"last_error"`  // of the last failure, also when it is over
	LastFailed time.Time     `json:"last_failed"` // when that was
}

// counts is Stats as it grows.
type counts struct {
	mu     sync.Mutex
	s      Stats
	place  event.Position
	newest time.Time // of the newest delivered event
}

func (c *counts) at(p event.Position) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.place = p
}

func (c *counts) failed(err error, again uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Failures++
	c.s.Retried += again
	c.s.Failing, c.s.LastError, c.s.LastFailed = true, err.Error(), time.Now()
}

func (c *counts) lose(g *event.KeptGap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.Lost += g.Count
}

func (c *counts) confirm(p event.Position, newest time.Time, items, records, rejected uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.place, c.newest = p, newest
	c.s.Events += items
	c.s.Records += records
	c.s.Rejected += rejected
	c.s.Failing = false
}

// Stats returns what was counted.
func (r *Runner) Stats() Stats {
	r.counts.mu.Lock()
	defer r.counts.mu.Unlock()
	s := r.counts.s
	s.Lag = r.o.From.Behind(r.counts.place)
	if s.Lag > 0 && !r.counts.newest.IsZero() {
		s.LagTime = max(0, time.Since(r.counts.newest))
	}
	return s
}

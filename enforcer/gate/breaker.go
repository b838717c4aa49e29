package gate

import (
	"sync"
	"time"
)

// breaker keeps a Judge that does not answer from being asked: after limit
// misses in a row it is left alone for a while, then one question tries it.
type breaker struct {
	limit int
	rest  time.Duration
	tell  func(open bool)
	count func()
	now   func() time.Time // nil: time.Now

	mu     sync.Mutex
	misses int
	until  time.Time // open until then
	trying bool
}

func (b *breaker) time() time.Time {
	if b.now != nil {
		return b.now()
	}
	return time.Now()
}

// ask reports whether the Judge may be asked.
func (b *breaker) ask() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.misses < b.limit {
		return true
	}
	if b.trying || b.time().Before(b.until) {
		return false
	}
	b.trying = true
	return true
}

// hit: an answer came in time.
func (b *breaker) hit() {
	b.mu.Lock()
	closed := b.misses >= b.limit
	b.misses, b.trying = 0, false
	b.mu.Unlock()
	if closed && b.tell != nil {
		b.tell(false)
	}
}

// missed: none came.
func (b *breaker) missed() {
	b.mu.Lock()
	b.misses++
	opened := b.misses == b.limit
	if b.misses >= b.limit {
		b.until, b.trying = b.time().Add(b.rest), false
	}
	b.mu.Unlock()
	if opened {
		if b.count != nil {
			b.count()
		}
		if b.tell != nil {
			b.tell(true)
		}
	}
}

package bpf

import (
	"slices"
	"sync"
	"time"
)

// looks remembers when the agent has looked whether paths of the policy are what they
// were, and in which spans of time something became different. Within such a span
// the kernel goes by the old, and user space, which reads a record later, by the
// path as it was.
type looks struct {
	mu    *sync.Mutex
	again *sync.Cond // after each look
	last  uint64     // begin of the last look, nanoseconds after boot
	spans []span     // oldest first
	over  bool
	// patience is how long one waits for the next look.
	patience time.Duration
}

// span is a time within which something has changed, in nanoseconds after boot.
type span struct{ from, to uint64 }

const maxSpans = 64

func newLooks() looks {
	mu := &sync.Mutex{}
	return looks{mu: mu, again: sync.NewCond(mu), last: sinceBoot(), patience: 2 * pollLatest}
}

// looked notes a look that began at a time; changed says that something was bound anew.
func (l *looks) looked(began uint64, changed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if changed {
		if len(l.spans) == maxSpans {
			l.spans = slices.Delete(l.spans, 0, 1)
		}
		l.spans = append(l.spans, span{l.last, sinceBoot()})
	}
	l.last = began
	l.again.Broadcast()
}

// end is when nobody looks any more.
func (l *looks) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	l.again.Broadcast()
}

// settled reports whether nothing that the policy names was becoming something else
// at a time, in nanoseconds after boot. It waits for the look that tells.
func (l *looks) settled(at uint64) bool {
	late := false
	timer := time.AfterFunc(l.patience, func() {
		l.mu.Lock() // whoever waits has looked at late before, or sees it now
		defer l.mu.Unlock()
		late = true
		l.again.Broadcast()
	})
	defer timer.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.last <= at && !l.over && !late {
		l.again.Wait()
	}
	if l.last <= at || len(l.spans) == maxSpans && at < l.spans[0].from {
		return false // nobody knows
	}
	return !slices.ContainsFunc(l.spans, func(s span) bool { return s.from <= at && at <= s.to })
}

// Settled reports whether nothing that the policy names was becoming something else at
// a time, in nanoseconds after boot: a file moved, a directory made. It waits for the
// next look at the paths, 200 ms as a rule.
func (k *Kernel) Settled(boot uint64) bool { return k.rebinder == nil || k.rebinder.settled(boot) }

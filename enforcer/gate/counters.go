package gate

import "sync/atomic"

type counter int

const (
	cntQuestions counter = iota
	cntOwn
	cntPassed
	cntAllowed
	cntDenied
	cntLoaders
	cntDeadline
	cntBreaker
	cntErrors
	cntFile
	cntLate
	cntGone
	cntUnread
	cntOpened
	numCounters
)

// What each counts is in docs/operating.md.
var counterNames = [numCounters]string{
	cntQuestions: "gate_questions",
	cntOwn:       "gate_own",
	cntPassed:    "gate_not_concerned",
	cntAllowed:   "gate_allowed",
	cntDenied:    "gate_denied",
	cntLoaders:   "gate_loaders",
	cntDeadline:  "gate_missed_deadline",
	cntBreaker:   "gate_missed_breaker",
	cntErrors:    "gate_missed_error",
	cntFile:      "gate_missed_file",
	cntLate:      "gate_late_answers",
	cntGone:      "gate_gone",
	cntUnread:    "gate_unread",
	cntOpened:    "gate_breaker_opened",
}

type counters [numCounters]atomic.Uint64

func (c *counters) add(i counter) { c[i].Add(1) }

// Counters returns what happened at the gate since it was opened, by name.
func (g *Gate) Counters() map[string]uint64 {
	out := make(map[string]uint64, numCounters)
	for i := range g.count {
		out[counterNames[i]] = g.count[i].Load()
	}
	return out
}

package enforcer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// quietPolls is how many polls without a new loss end its condition.
const quietPolls = 60

// pollState is what the poller knows from before.
type pollState struct {
	last  map[string]uint64
	quiet map[string]int // condition -> polls since it was last true
}

// pollCounters reads the kernel's counters until the context ends.
func (e *Enforcer) pollCounters(ctx context.Context) {
	tick := time.NewTicker(e.PollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			e.pollOnce()
			e.forgetGenerations()
		}
	}
}

// ownEvent is a kernel counter of acts that passed while a deferred rule had no
// verdict. Each is an event of its own, judged late: no condition, no notice.
const ownEvent = "fail_open_undecided"

// pollOnce turns what the counters grew by into notices and conditions: lost
// events and acts that passed unjudged, ours and the kernel's.
func (e *Enforcer) pollOnce() {
	now, err := e.Kernel.Counters()
	if err != nil {
		e.Raise(CondCountersUnread, fmt.Sprintf("read kernel counters: %v", err))
		now = maps.Clone(e.poll.last)
		if now == nil {
			now = map[string]uint64{}
		}
	} else {
		e.Clear(CondCountersUnread)
		now = maps.Clone(now)
	}
	own := map[string]uint64{}
	e.counts.snapshot(own)
	for name, n := range own {
		if reason, ok := strings.CutPrefix(name, "fail_open_"); ok {
			now["fail_open_"+reason] += n
		}
	}
	e.report(now, "drop_", NoticeEventsDropped, CondEventsDropped, "events lost")
	e.report(now, "fail_open_", NoticeFailOpen, CondFailOpen, "acts passed unjudged")
	e.poll.last = now
}

func (e *Enforcer) report(now map[string]uint64, prefix, code, condition, what string) {
	grown := map[string]string{}
	var sum uint64
	for name, n := range now {
		// A counter that shrank belongs to a kernel side that was opened anew.
		if reason, ok := strings.CutPrefix(name, prefix); ok && name != ownEvent && n > e.poll.last[name] {
			grown[reason] = strconv.FormatUint(n-e.poll.last[name], 10)
			sum += n - e.poll.last[name]
		}
	}
	if e.poll.quiet == nil {
		e.poll.quiet = map[string]int{}
	}
	if sum == 0 {
		if e.poll.quiet[condition]++; e.poll.quiet[condition] >= quietPolls {
			e.Clear(condition)
		}
		return
	}
	e.poll.quiet[condition] = 0
	if condition == CondEventsDropped {
		e.skip(sum)
	}
	reasons := slices.Sorted(maps.Keys(grown))
	for i, r := range reasons {
		reasons[i] = r + " " + grown[r]
	}
	text := fmt.Sprintf("%d %s: %s", sum, what, strings.Join(reasons, ", "))
	e.notice(code, text, grown)
	e.Raise(condition, text)
}

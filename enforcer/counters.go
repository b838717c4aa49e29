package enforcer

import "sync/atomic"

// counter numbers what the enforcer counts since it was made. Status gives
// them by name.
type counter int

const (
	cntRead counter = iota
	cntEmitted
	cntNotices
	cntEvaluations
	cntEngineErrors
	cntAfterDeadline
	cntStale
	cntCacheHits
	cntCacheShared
	cntCacheEvicted
	cntUncacheable
	cntRemembered
	cntNotKept
	cntRememberErrors
	cntUnchecked
	cntSampled
	cntDivergences
	cntNotComparable
	cntKills
	cntKillErrors
	cntHeldEvaluations
	cntHeldShared
	cntHeldUnknown
	cntHeldUnread
	cntOpenEngine
	cntOpenDeadline
	cntOpenQueue
	cntOpenBehind
	cntOpenGeneration
	cntOpenDigest
	numCounters
)

// counterNames: fail_open_* are the reasons in event.Decision.FailOpen.
var counterNames = [numCounters]string{
	cntRead:            "events_read",
	cntEmitted:         "events_emitted",
	cntNotices:         "notices_emitted",
	cntEvaluations:     "policy_evaluations",
	cntEngineErrors:    "policy_errors",
	cntAfterDeadline:   "policy_answers_after_deadline",
	cntStale:           "policy_tasks_stale",
	cntCacheHits:       "cache_hits",
	cntCacheShared:     "cache_shared",
	cntCacheEvicted:    "cache_evicted",
	cntUncacheable:     "answers_not_cacheable",
	cntRemembered:      "verdicts_remembered",
	cntNotKept:         "verdicts_without_kernel_key",
	cntRememberErrors:  "verdicts_not_remembered",
	cntUnchecked:       "decisions_not_rechecked",
	cntSampled:         "decisions_sampled",
	cntDivergences:     "divergences",
	cntNotComparable:   "decisions_not_comparable",
	cntKills:           "late_kills",
	cntKillErrors:      "late_kill_errors",
	cntHeldEvaluations: "held_evaluations",
	cntHeldShared:      "held_answers_shared",
	cntHeldUnknown:     "held_acts_unknown",
	cntHeldUnread:      "held_acts_unread",
	cntOpenEngine:      "fail_open_engine_error",
	cntOpenDeadline:    "fail_open_engine_deadline",
	cntOpenQueue:       "fail_open_queue_full",
	cntOpenBehind:      "fail_open_pipeline_behind",
	cntOpenGeneration:  "fail_open_unknown_generation",
	cntOpenDigest:      "fail_open_digest_unknown",
}

type counters [numCounters]atomic.Uint64

func (c *counters) add(i counter) { c[i].Add(1) }

// snapshot puts the counters into m by name.
func (c *counters) snapshot(m map[string]uint64) {
	for i := range c {
		m[counterNames[i]] = c[i].Load()
	}
}

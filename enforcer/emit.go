package enforcer

import (
	"example.com/bailiff/internal/event"
)

// Codes of the notices that the enforcer emits (event.Notice.Code). They are
// part of the event format and do not change.
const (
	NoticeStarted          = "started"
	NoticeStopped          = "stopped"
	NoticePolicyChange     = "policy-change"  // another policy is in force
	NoticePolicyRefused    = "policy-refused" // a new policy could not be put in force, the old one stays
	NoticeModeChange       = "mode-change"
	NoticeEventsDropped    = "events-dropped" // fields: reason -> events lost since the last such notice
	NoticeFailOpen         = "fail-open"      // fields: reason -> acts that passed unjudged since the last such notice
	NoticeFailClosed       = "fail-closed"    // an act of which nothing is known was refused
	NoticeLateKill         = "late-kill"      // a verdict came after the event had left, and its rule says kill
	NoticeConditionRaised  = "condition-raised"
	NoticeConditionCleared = "condition-cleared"
)

// emit numbers an event and hands it to the sinks.
func (e *Enforcer) emit(ev *event.Event) {
	e.emitMu.Lock()
	defer e.emitMu.Unlock()
	e.seq++
	ev.Seq = e.seq
	if ev.Agent != nil {
		e.noted++
	}
	if e.Redact != nil {
		ev = e.Redact(ev)
	}
	for _, s := range e.Sinks {
		s.Emit(ev)
	}
	e.counts.add(cntEmitted)
}

// skip gives numbers to acts of which nobody will hear: whoever reads the
// stream sees that they are missing, and how many.
func (e *Enforcer) skip(n uint64) {
	e.emitMu.Lock()
	defer e.emitMu.Unlock()
	e.seq += n
}

// settle gives a number to each act that the kernel counted and that has none,
// at the end of a run: with it the stream accounts for every one.
func (e *Enforcer) settle() {
	now, err := e.Kernel.Counters()
	if err != nil {
		return // pollOnce has said so
	}
	e.emitMu.Lock()
	numbered := e.seq - e.noted
	e.emitMu.Unlock()
	if acts := now["acts"]; acts > numbered {
		e.log.Error("acts were not read before the end", "count", acts-numbered)
		e.skip(acts - numbered)
	}
}

func (e *Enforcer) notice(code, text string, fields map[string]string) {
	e.Record(event.Notice{Code: code, Text: text, Fields: fields})
}

// Record emits a notice about the agent itself, with the mode and the policy in
// force.
func (e *Enforcer) Record(what event.Notice) {
	n := &event.Event{Time: e.Now(), Agent: &what}
	n.Decision.Mode = e.Mode()
	if in := e.active.Load(); in != nil {
		n.Decision.Revision, n.Decision.Generation = in.revision, uint32(in.gen)
	}
	e.counts.add(cntNotices)
	e.emit(n)
}

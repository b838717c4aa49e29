package sink

import (
	"example.com/bailiff/internal/event"
)

// Severity is how bad it is, on OCSF's scale.
type Severity uint8

// The severities.
const (
	SeverityUnknown Severity = iota
	Informational
	Low
	Medium
	High
	Critical
)

var severityNames = map[string]Severity{
	"informational": Informational, "info": Informational, "low": Low, "medium": Medium, "high": High, "critical": Critical,
}

// String is the word that OCSF has for it.
func (s Severity) String() string {
	names := [...]string{"Unknown", "Informational", "Low", "Medium", "High", "Critical"}
	if int(s) < len(names) {
		return names[s]
	}
	return names[0]
}

// Syslog is the severity of RFC 5424.
func (s Severity) Syslog() int {
	switch s {
	case Critical:
		return 2
	case High:
		return 3
	case Medium:
		return 4
	case Low:
		return 5
	}
	return 6
}

// SeverityOf is the rule's own where it says one; a deny without one is high,
// an alert medium. What passed unjudged is at least medium.
func SeverityOf(it *Item) Severity {
	if it.Gap != nil {
		return Medium
	}
	e := it.Event
	if e.Agent != nil {
		return noticeSeverity(e)
	}
	s := Informational
	if d := &e.Decision; d.Verdict >= event.VerdictAlert {
		s = Medium
		if d.Verdict == event.VerdictDeny {
			s = High
		}
		if d.Rule != nil {
			if own, ok := severityNames[d.Rule.Severity]; ok {
				s = own
			}
		}
	}
	if d := &e.Decision; d.FailOpen != "" || d.Divergence {
		s = max(s, Medium)
	}
	return s
}

// noticeSeverity goes by what the notice means for the protection. The codes
// are part of the event format.
func noticeSeverity(e *event.Event) Severity {
	switch n := e.Agent; n.Code {
	case "mode-change":
		if n.Fields["mode"] == event.ModeAudit.String() {
			return High // nothing is blocked from here on
		}
		return Low
	case "fail-open", "late-kill", "already-open":
		return High
	case "condition-raised":
		if s, ok := severityNames[n.Fields["severity"]]; ok {
			return s
		}
		return Medium
	case "policy-refused", "call-refused", "events-dropped", "spool-loss", "stopped":
		return Medium
	case "policy-change", "operator-call":
		return Low
	}
	return Informational
}

package main

import (
	"fmt"
	"slices"
	"time"

	"example.com/bailiff/internal/server"
)

// layer is one part of the way from an act to a reader of the stream.
type layer struct {
	name  string
	codes []string // conditions that concern it; nil: all that concern no other
	text  string
}

// layers shows the way in the order in which an event takes it.
func layers(s *server.Status, now time.Time) []layer {
	kernel := fmt.Sprintf("%s; ring %s of %s used; %d events dropped", word(s.Backend), size(s.Ring.Used), size(s.Ring.Size), sum(s.Counters, "kernel_drop_"))
	policy := fmt.Sprintf("generation %d, %s", s.Generation, classes(s.RuleClasses))
	decision, stream := "canary off", fmt.Sprintf("%d subscribers", s.Subscribers)
	if c := s.Canary; c != nil && c.Time.IsZero() {
		decision = "canary: first round under way"
	} else if c != nil {
		ago := since(c.Time, now)
		decision = fmt.Sprintf("canary %s ago: not decided within %s", ago, c.Within)
		if c.Seen > 0 {
			decision = fmt.Sprintf("canary %s ago: decided after %s", ago, short(c.Seen))
		} else if c.Stage == "act" {
			decision = fmt.Sprintf("canary %s ago: could not be executed", ago)
		}
		if c.Streamed > 0 {
			stream = fmt.Sprintf("canary came out after %s; %s", short(c.Streamed), stream)
		} else {
			stream = fmt.Sprintf("canary did not come out within %s; %s", c.Within, stream)
		}
	}
	spool := "none: events are not kept"
	if p := s.Spool; p != nil {
		spool = fmt.Sprintf("%s of %s in %d files", size(p.Bytes), size(p.MaxBytes), p.Segments)
		if !p.Oldest.IsZero() {
			spool += ", the oldest of " + since(p.Oldest, now) + " ago"
		}
		spool += fmt.Sprintf("; %d events lost", sum(s.Counters, "spool_lost_"))
	}
	return []layer{
		{"kernel", []string{"hook-silent", "backend-limited", "events-dropped", "counters-unreadable", "fail-open", "tables-not-freed"}, kernel},
		{"policy", nil, policy},
		{"decision", []string{"canary-unseen", "canary-undone"}, decision},
		{"spool", []string{"spool-failing"}, spool},
		{"stream", []string{"canary-undelivered", "sink-failing", "certificates-stale", "certificate-expires"}, stream},
	}
}

// state is the worst of the conditions that concern a layer.
func (l *layer) state(s *server.Status, all []layer, p paint) string {
	worst := ""
	for _, c := range s.Conditions {
		if l.concerns(c.Code, all) && rank(c.Severity) > rank(worst) {
			worst = c.Severity
		}
	}
	switch worst {
	case "":
		return p.as(green, fmt.Sprintf("%-4s", "ok"))
	case "low":
		return p.as(yellow, fmt.Sprintf("%-4s", "low"))
	}
	return p.as(red, fmt.Sprintf("%-4s", "BAD"))
}

func (l *layer) concerns(code string, all []layer) bool {
	if l.codes != nil {
		return slices.Contains(l.codes, code)
	}
	return !slices.ContainsFunc(all, func(o layer) bool { return slices.Contains(o.codes, code) })
}

func rank(severity string) int { return slices.Index([]string{"", "low", "medium", "high"}, severity) }

// consumer shows how far a named reader of the stream is.
func consumer(c *server.Consumer) string {
	switch {
	case c.Unknown:
		return word(c.Name) + " has a place that nobody remembers: it gets everything again"
	case c.Run == "":
		return fmt.Sprintf("%s has acknowledged nothing, %d events wait", word(c.Name), c.Behind)
	}
	return fmt.Sprintf("%s is %d events behind", word(c.Name), c.Behind)
}

// size shows a number of bytes.
func size(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

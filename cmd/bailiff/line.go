package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// A line has its columns always in this order:
//
//	time  verdict  hook  pid program → object  rule and effect  the rest
//
// Each is one word (see word) but the last, so that it can be cut, searched,
// and not forged.

// argsWidth is how much of the arguments a line shows.
const argsWidth = 200

// line shows one event to a person.
func line(e *event.Event, p paint) string {
	if e.Agent != nil {
		return notice(e, p)
	}
	verdict, colour := verdictWord(&e.Decision)
	var b strings.Builder
	fmt.Fprintf(&b, "%s  %s  %-5s %7d %s → %s", clock(e.Time), p.as(colour, fmt.Sprintf("%-10s", verdict)), e.Hook,
		e.Process.PID, program(&e.Process), object(e))
	d := &e.Decision
	if d.Rule != nil {
		fmt.Fprintf(&b, "  %s", p.as(colour, word(d.Rule.ID)))
	} else {
		b.WriteString("  -")
	}
	if d.Effect != event.EffectNone {
		fmt.Fprintf(&b, " %s", p.as(colour, d.Effect.String()))
	}
	for _, mark := range marks(d) {
		fmt.Fprintf(&b, " %s", p.as(red, mark))
	}
	if rest := details(e); rest != "" {
		fmt.Fprintf(&b, "  %s", p.as(dim, rest))
	}
	return b.String()
}

// verdictWord: a deny that was not acted upon must not look like one that was.
func verdictWord(d *event.Decision) (word, colour string) {
	switch {
	case d.WouldDeny():
		return "would-deny", yellow
	case d.Verdict == event.VerdictDeny:
		return "DENY", red
	case d.Verdict == event.VerdictAlert:
		return "alert", magenta
	case d.Verdict == event.VerdictAllow:
		return "allow", dim
	}
	return "-", dim
}

func marks(d *event.Decision) []string {
	var out []string
	if d.Late {
		out = append(out, "late")
	}
	if d.Commit {
		out = append(out, "commit")
	}
	if d.Undecided {
		out = append(out, "undecided")
	}
	if d.FailOpen != "" {
		out = append(out, "fail-open:"+word(d.FailOpen))
	}
	if d.Divergence {
		out = append(out, "DIVERGENCE")
	}
	return out
}

func program(p *event.Process) string {
	if p.Exe.Path == "" {
		return "?"
	}
	return word(p.Exe.Path)
}

func object(e *event.Event) string {
	switch {
	case e.Target != nil && e.File != nil:
		return fmt.Sprintf("process:%d(%s)", e.Target.PID, word(e.File.Path))
	case e.File != nil && e.File.Path == "":
		return "?"
	case e.File != nil:
		return word(e.File.Path)
	case e.Fork != nil && e.Fork.PID == 0:
		return "no-process"
	case e.Fork != nil:
		return fmt.Sprintf("process:%d", e.Fork.PID)
	case e.Exit != nil && e.Exit.Signal != 0:
		return signalName(e.Exit.Signal)
	case e.Exit != nil:
		return fmt.Sprintf("status:%d", e.Exit.Code)
	}
	return "-"
}

func signalName(n uint8) string {
	if s := unix.SignalName(unix.Signal(n)); s != "" {
		return s
	}
	return fmt.Sprintf("signal:%d", n)
}

// details are what the caller wrote and what else helps: always last.
func details(e *event.Event) string {
	var out []string
	if e.File != nil && e.File.Unresolved {
		out = append(out, "(path not known whole)")
	}
	if e.File != nil && e.File.At != "" {
		out = append(out, "at "+word(e.File.At))
	}
	if e.Exec != nil && e.Exec.Script != "" {
		out = append(out, "script "+word(e.Exec.Script))
	}
	if len(e.Open) > 0 {
		out = append(out, "("+strings.Join(e.Open, ",")+")")
	}
	if e.Exec != nil && len(e.Exec.Args) > 0 {
		args := "$"
		for i, a := range e.Exec.Args {
			w := word(a)
			if len(args)+len(w) > argsWidth {
				args += fmt.Sprintf(" … %d more", len(e.Exec.Args)-i)
				break
			}
			args += " " + w
		}
		if e.Exec.ArgsCut {
			args += " … (cut)"
		}
		out = append(out, args)
	}
	return strings.Join(out, "  ")
}

// notice shows what the agent has to tell about itself.
func notice(e *event.Event, p paint) string {
	n := e.Agent
	s := fmt.Sprintf("%s  %s  agent %s  %s", clock(e.Time), p.as(cyan, fmt.Sprintf("%-10s", "notice")), p.as(cyan, word(n.Code)), visible(n.Text))
	var fields []string
	for _, k := range slices.Sorted(maps.Keys(n.Fields)) {
		fields = append(fields, word(k)+"="+word(n.Fields[k]))
	}
	if len(fields) > 0 {
		s += "  " + p.as(dim, strings.Join(fields, " "))
	}
	return s
}

// gapLine shows a loss. It has no time of its own: it stands where the events
// would have been.
func gapLine(g *bailiffv1.Gap, p paint) string {
	what := fmt.Sprintf("%d events were lost here (sequence numbers %d to %d)", g.GetCount(), g.GetFirstSeq(), g.GetLastSeq())
	switch {
	case g.GetAtLeast() && g.GetCount() == 0:
		what = "events may have been lost here, nobody knows how many"
	case g.GetAtLeast():
		what += ", perhaps more"
	}
	return p.as(red, fmt.Sprintf("%-12s  %-10s  agent gap  %s: %s", "--:--:--.---", "LOST", what, gapReason(g.GetReason())))
}

// gapReason says in words why events are missing.
func gapReason(r bailiffv1.GapReason) string {
	switch r {
	case bailiffv1.GapReason_GAP_REASON_SLOW_CLIENT:
		return "this client read too slowly"
	case bailiffv1.GapReason_GAP_REASON_EVICTED:
		return "the spool had to drop them, it is bounded in size and age"
	case bailiffv1.GapReason_GAP_REASON_DAMAGED:
		return "the spool is damaged there"
	case bailiffv1.GapReason_GAP_REASON_WRITE:
		return "the spool could not be written"
	case bailiffv1.GapReason_GAP_REASON_QUEUE:
		return "they came faster than the spool's disk took them"
	case bailiffv1.GapReason_GAP_REASON_OVERSIZE:
		return "too large for the spool"
	case bailiffv1.GapReason_GAP_REASON_UNCLEAN:
		return "the agent died before they were written"
	case bailiffv1.GapReason_GAP_REASON_RING_FULL:
		return "the kernel made them faster than the agent read"
	case bailiffv1.GapReason_GAP_REASON_UNKNOWN_CURSOR:
		return "the spool does not know this cursor's run"
	}
	return word(r.String())
}

func clock(t time.Time) string { return t.Local().Format("15:04:05.000") }

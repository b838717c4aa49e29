package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiff/internal/server"
)

func (a *app) statusCmd() *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show how the agent is",
		Long: `Show how the agent is: backend, mode, policy; the layers from the kernel to the
stream, with the last time that an act of the agent's own went through all of
them; readers with a place of their own; each condition that is raised, with
what to do about it; and what was counted.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := a.askStatus(c)
			if err != nil {
				return err
			}
			if a.output == "json" {
				err = a.printJSON(s)
			} else {
				_, err = fmt.Fprint(a.out, statusText(s, a.paint(), time.Now()))
			}
			if err == nil && check && len(s.Conditions) > 0 {
				return quietError{fmt.Errorf("%d conditions are raised", len(s.Conditions))}
			}
			return err
		},
	}
	c.Example = "  bailiff status\n  bailiff status --check || page-somebody\n  bailiff status -o json | jq .canary"
	c.Flags().BoolVar(&check, "check", false, "exit with 1 if any condition is raised")
	return c
}

// statusText is the table for people.
func statusText(s *server.Status, p paint, now time.Time) string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%s  %s\n", p.as(bold, fmt.Sprintf("%-10s", name)), fmt.Sprintf(format, args...))
	}
	row("backend", "%s", word(s.Backend))
	b.WriteString(modeLines(s, p))
	if len(s.Scope) == 0 {
		row("scope", "the whole machine")
	}
	for _, dir := range s.Scope {
		row("scope", "%s and below", word(dir))
	}
	for _, prog := range s.Rescue {
		row("rescue", "%s", word(prog))
	}
	row("policy", "revision %s from %s", word(s.Revision), visible(s.PolicySource))
	row("", "generation %d, in force for %s", s.Generation, since(s.PolicyLoaded, now))
	row("rules", "%s", classes(s.RuleClasses))
	row("events", "%d, the last has number %d; %d subscribers", s.Counters["events_emitted"], s.LastSeq, s.Subscribers)
	row("lost", "%s dropped by the kernel side, %s by slow subscribers",
		bad(p, sum(s.Counters, "kernel_drop_")), bad(p, s.Counters["stream_lost"]))
	row("unjudged", "%s passed without a verdict (fail-open)", bad(p, sum(s.Counters, "fail_open_", "kernel_fail_open_")))
	row("diverged", "%s decisions on which kernel and OPA disagree", bad(p, s.Counters["divergences"]))
	row("agent", "%s, pid %d, up for %s, run %s", word(s.Version), s.PID, since(s.Started, now), word(s.RunID))

	b.WriteString("\n")
	way := layers(s, now)
	for i, l := range way {
		name := "layers"
		if i > 0 {
			name = ""
		}
		row(name, "%-8s  %s  %s", l.name, l.state(s, way, p), l.text)
	}
	if s.Spool != nil {
		for i := range s.Spool.Consumers {
			name := "consumers"
			if i > 0 {
				name = ""
			}
			row(name, "%s", consumer(&s.Spool.Consumers[i]))
		}
	}

	b.WriteString("\n")
	if len(s.Conditions) == 0 {
		row("conditions", "%s", p.as(green, "none"))
	}
	for i, c := range s.Conditions {
		name := "conditions"
		if i > 0 {
			name = ""
		}
		row(name, "%s (%s) for %s: %s", p.as(red, word(c.Code)), word(c.Severity), since(c.Since, now), visible(c.Text))
		row("", "→ %s", visible(c.Remedy))
	}

	b.WriteString("\n")
	width := 0
	for name := range s.Counters {
		width = max(width, len(name))
	}
	name := "counters"
	for _, k := range slices.Sorted(maps.Keys(s.Counters)) {
		if s.Counters[k] > 0 {
			row(name, "%-*s %12d", width, k, s.Counters[k])
			name = ""
		}
	}
	return b.String()
}

func classes(m map[string]uint32) string {
	if len(m) == 0 {
		return "none"
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%d %s", m[k], word(k)))
	}
	return strings.Join(out, ", ")
}

func sum(m map[string]uint64, prefixes ...string) (n uint64) {
	for k, v := range m {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(k, p) }) {
			n += v
		}
	}
	return n
}

// bad shows a number that should be zero.
func bad(p paint, n uint64) string {
	if n == 0 {
		return "0"
	}
	return p.as(red, fmt.Sprint(n))
}

func since(t, now time.Time) string {
	if t.IsZero() {
		return "?"
	}
	d := max(0, now.Sub(t))
	switch {
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < 48*time.Hour:
		return strings.TrimSuffix(d.Round(time.Minute).String(), "0s")
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

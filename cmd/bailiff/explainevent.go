package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/recorded"
	"example.com/bailiff/policy"
)

// eventFlags say which recorded act is to be explained.
type eventFlags struct {
	recording
	which    string // a sequence number, a file, or -
	run      string
	rule     string
	noPrompt bool
}

// triedEvent is the answer of explain --event in JSON.
type triedEvent struct {
	Event     *event.Event  `json:"event"`
	Revision  string        `json:"recorded_revision,omitempty"` // that judged it then
	Limits    []string      `json:"limits,omitempty"`            // where the record is less than the act
	Trial     *policy.Trial `json:"trial"`
	Different string        `json:"different,omitempty"` // how the answer differs from the recorded one
}

func (a *app) explainEvent(ctx context.Context, p *policy.Policy, src source, f *eventFlags) error {
	defer p.Close(context.WithoutCancel(ctx))
	e, err := a.findEvent(ctx, f)
	if err != nil {
		return err
	}
	t, err := p.Try(ctx, e)
	if err != nil {
		return err
	}
	out := &triedEvent{Event: e, Revision: e.Decision.Revision, Limits: recorded.Limits(e), Trial: t, Different: differs(e, t)}
	if f.rule != "" {
		t.Rules = slices.DeleteFunc(t.Rules, func(r policy.RuleTrial) bool { return r.Rule.ID != f.rule })
		if len(t.Rules) == 0 {
			return noRule(f.rule, src.String()+", for "+e.Hook.String()+",")
		}
	}
	if a.output == "json" {
		return a.printJSON(out)
	}
	paint := a.paint()
	var b strings.Builder
	eventHead(&b, out, paint)
	if f.rule != "" {
		ruleTrial(&b, &t.Rules[0], paint)
	} else {
		ruleList(&b, t, paint)
		for i := range t.Rules {
			if t.Rules[i].Fires {
				fmt.Fprintln(&b)
				ruleTrial(&b, &t.Rules[i], paint)
			}
		}
	}
	if _, err := fmt.Fprint(a.out, b.String()); err != nil {
		return err
	}
	if a.terminal && !f.noPrompt && f.rule == "" && f.which != "-" && isTerminal(os.Stdin) {
		return a.step(os.Stdin, out)
	}
	return nil
}

// findEvent gets the act: by number out of a recording, or the first one of a
// file.
func (a *app) findEvent(ctx context.Context, f *eventFlags) (*event.Event, error) {
	seq, err := strconv.ParseUint(f.which, 10, 64)
	byNumber := err == nil
	if !byNumber {
		f.from = f.which
	}
	var found *event.Event
	if f.run != "" && !byNumber {
		return nil, usageError{errors.New("--run goes with the number of an event")}
	}
	_, err = a.readRuns(ctx, &f.recording, func(run string, e *event.Event) error {
		switch {
		case !byNumber:
			found = e
			return recorded.ErrEnough
		case e.Seq == seq && (f.run == "" || f.run == run):
			found = e // numbers begin anew with each run: the newest counts
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if found == nil && byNumber {
		return nil, &userError{Code: "no-event", Why: fmt.Sprintf("the recording has no act with the number %d", seq),
			Hint: "bailiff events -o json shows the numbers (seq); records about the agent and exits are not judged"}
	}
	if found == nil {
		return nil, &userError{Code: "no-event", Why: f.which + " holds no act"}
	}
	return found, nil
}

func differs(e *event.Event, t *policy.Trial) string {
	if e.Decision.Verdict == event.VerdictNone {
		return ""
	}
	was := ""
	if e.Decision.Rule != nil {
		was = e.Decision.Rule.ID
	}
	now := ""
	for i := range t.Rules {
		if t.Rules[i].Decides {
			now = t.Rules[i].Rule.ID
		}
	}
	if e.Decision.Verdict == t.Verdict && was == now {
		return ""
	}
	text := fmt.Sprintf("recorded: %s %s; now: %s %s", e.Decision.Verdict, was, t.Verdict, now)
	if e.Decision.Revision == t.Revision {
		text += "; by the same revision"
		if why := undecidedThen(&e.Decision); why != "" {
			text += " (" + why + ")"
		}
	}
	return text
}

func eventHead(b *strings.Builder, x *triedEvent, p paint) {
	fmt.Fprintf(b, "%s\n", line(x.Event, p))
	fmt.Fprintf(b, "revision %s: %s", word(x.Trial.Revision), x.Trial.Verdict)
	if x.Trial.Message != "" {
		fmt.Fprintf(b, ", %q", visible(x.Trial.Message))
	}
	fmt.Fprintf(b, "; the kernel's tables alone: %s\n", x.Trial.Kernel)
	if x.Different != "" {
		fmt.Fprintf(b, "%s\n", p.as(red, visible(x.Different)))
	}
	for _, l := range x.Limits {
		fmt.Fprintf(b, "the record is not whole: %s\n", visible(l))
	}
}

// ruleList is one line for each rule.
func ruleList(b *strings.Builder, t *policy.Trial, p paint) {
	if len(t.Rules) == 0 {
		b.WriteString("the bundle has no rule for such acts\n")
	}
	for i := range t.Rules {
		r := &t.Rules[i]
		state, colour := "no", dim
		switch {
		case r.Decides:
			state, colour = "DECIDES", red
		case r.Fires:
			state, colour = "fires", yellow
		}
		fmt.Fprintf(b, "%3d  %s  %-5s %s", i+1, p.as(colour, fmt.Sprintf("%-7s", state)), r.Verdict, word(r.Rule.ID))
		for _, s := range r.Body {
			if s.Held == "no" {
				fmt.Fprintf(b, "  %s", p.as(dim, "not so: "+visible(cut(s.Text, 80))))
				break
			}
		}
		fmt.Fprintln(b)
	}
}

// mark is how a condition's outcome stands at the beginning of a line.
func mark(held string) string {
	switch held {
	case "yes":
		return "yes"
	case "no":
		return "NO "
	}
	return " - "
}

// ruleTrial is all that is known of one rule.
func ruleTrial(b *strings.Builder, r *policy.RuleTrial, p paint) {
	state := "does not fire"
	if r.Fires {
		state = "fires"
	}
	if r.Decides {
		state = "fires and decides"
	}
	fmt.Fprintf(b, "%s %s  %s:%d  %s\n", r.Verdict, p.as(bold, word(r.Rule.ID)), word(r.Rule.File), r.Rule.Line, visible(r.Rule.Title))
	fmt.Fprintf(b, "  OPA: it %s\n", state)
	for _, s := range r.Body {
		fmt.Fprintf(b, "    %s  %s:%d  %s\n", p.as(colourOf(s.Held), mark(s.Held)), word(s.File), s.Line, visible(s.Text))
	}
	fmt.Fprintf(b, "  kernel (%s): %s\n", r.Class, r.Kernel)
	for i, c := range r.Clauses {
		held := "no"
		if c.Holds {
			held = "yes"
		}
		fmt.Fprintf(b, "    %s  clause %d", p.as(colourOf(held), mark(held)), i+1)
		if len(c.Asks) > 0 {
			fmt.Fprintf(b, ", then OPA is asked, which reads %s", strings.Join(c.Asks, ", "))
		}
		fmt.Fprintln(b)
		for _, w := range c.Conditions {
			held := "no"
			if w.Holds {
				held = "yes"
			}
			value, err := jsonLine(w.Value)
			if err != nil {
				value = []byte("?")
			}
			fmt.Fprintf(b, "         %s  %s  (it is %s)\n", p.as(colourOf(held), mark(held)), visible(w.Text), cut(strings.TrimSpace(string(value)), 120))
		}
	}
}

func colourOf(held string) string {
	switch held {
	case "yes":
		return green
	case "no":
		return red
	}
	return dim
}

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "..."
	}
	return s
}

const stepHelp = "a number: that rule; n, p: the next, the one before; l: the list; d: the input document; q: end"

// step lets a person go through the rules.
func (a *app) step(in io.Reader, x *triedEvent) error {
	at, paint := -1, a.paint()
	lines := bufio.NewScanner(in)
	for {
		if _, err := fmt.Fprintf(a.out, "\n[%s]\n> ", stepHelp); err != nil {
			return err
		}
		if !lines.Scan() {
			_, err := fmt.Fprintln(a.out)
			return errors.Join(err, lines.Err())
		}
		var b strings.Builder
		n, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		switch cmd := strings.TrimSpace(lines.Text()); {
		case cmd == "q":
			return nil
		case cmd == "l":
			ruleList(&b, x.Trial, paint)
		case cmd == "d":
			var v any
			if err := json.Unmarshal(x.Trial.Document, &v); err != nil {
				return fmt.Errorf("read document: %w", err)
			}
			doc, err := jsonIndent(v)
			if err != nil {
				return err
			}
			b.Write(doc)
		case err == nil:
			at = show(&b, x.Trial, n-1, at, paint)
		case cmd == "n" || cmd == "":
			at = show(&b, x.Trial, at+1, at, paint)
		case cmd == "p":
			at = show(&b, x.Trial, at-1, at, paint)
		default:
			fmt.Fprintf(&b, "%q is none of these\n", cmd)
		}
		if _, err := fmt.Fprint(a.out, b.String()); err != nil {
			return err
		}
	}
}

// show writes rule i if there is one, and returns where one is then.
func show(b *strings.Builder, t *policy.Trial, i, was int, p paint) int {
	if i < 0 || i >= len(t.Rules) {
		fmt.Fprintf(b, "there are rules 1 to %d\n", len(t.Rules))
		return was
	}
	fmt.Fprintf(b, "%d of %d\n", i+1, len(t.Rules))
	ruleTrial(b, &t.Rules[i], p)
	return i
}

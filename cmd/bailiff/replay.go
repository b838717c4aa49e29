package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiff/internal/event"
)

// namedSource reads a bundle's name where one must be given: "embedded" stands
// for the rules that are built in.
func namedSource(name string) source {
	if name == "embedded" {
		return ""
	}
	return source(name)
}

// replayFlags are what replay can be told.
type replayFlags struct {
	recording
	old    string
	packs  []string
	failOn []string
	top    int
}

// failures are what --fail-on may name: the changes, and what is not sure.
var failures = []string{"newly-denied", "no-longer-denied", "newly-alerted", "no-longer-alerted", "other-rule", "disagrees", "lost", "none"}

func (a *app) replayCmd() *cobra.Command {
	var f replayFlags
	c := &cobra.Command{
		Use:   "replay BUNDLE [EVENTS]",
		Short: "Say what a new bundle would have done to recorded acts",
		Long: `Judge recorded acts by a bundle (a directory, a tar.gz file, or embedded for the
rules that are built in) and say what would have been different: newly denied, no longer denied, alerts, another rule. What
was is the recorded verdict, or with --old what another bundle says of the same
acts. Where a bundle has the revision that judged an act and says something else
than was recorded, that is reported too (disagrees).

` + recordingHelp + `

An act that was not recorded cannot be replayed: opens that no rule in force
concerned are not, unless the agent runs with --all-opens.

Exit code 1: there is a change of a kind that --fail-on names.`,
		Example: `  bailiff replay ./rules                           # against what the running agent has kept
  bailiff replay ./rules /var/lib/bailiff/spool --since 168h
  bailiff replay new.tar.gz events.json --old old.tar.gz -o json
  bailiff replay ./rules recorded.json.gz --fail-on newly-denied,disagrees
  bailiff replay embedded --pack lockdown=lockdown.json   # what a pack would have done`,
		Args:        cobra.RangeArgs(1, 2),
		Annotations: map[string]string{"yaml": "true"},
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.prepare(args[1:]); err != nil {
				return err
			}
			for _, s := range f.failOn {
				if !slices.Contains(failures, s) {
					return usageError{fmt.Errorf("--fail-on %q is not one of %s", s, strings.Join(failures, ", "))}
				}
			}
			return a.replay(c.Context(), namedSource(args[0]), &f)
		},
	}
	f.flags(c)
	packsFlag(c.Flags(), &f.packs)
	c.Flags().StringVar(&f.old, "old", "", "directory or tar.gz file to compare with (default: the recorded verdicts)")
	c.Flags().StringSliceVar(&f.failOn, "fail-on", []string{"newly-denied"}, "what makes the exit code 1: "+strings.Join(failures, ", "))
	c.Flags().IntVar(&f.top, "top", 20, "groups to show for each change in text (0: all)")
	_ = c.RegisterFlagCompletionFunc("fail-on", fixed(failures...))
	return c
}

// side is what was, or would have been, said of an act.
type side struct {
	Verdict event.Verdict `json:"verdict"`
	Rule    string        `json:"rule,omitempty"`
	Audit   bool          `json:"never_blocks,omitempty"`
}

// change is all acts of one program that became of one rule's making another's.
type change struct {
	Kind     string     `json:"kind"`
	Hook     event.Hook `json:"hook"`
	Old      side       `json:"old"`
	New      side       `json:"new"`
	Exe      string     `json:"exe"`
	Count    uint64     `json:"count"`
	Unjudged uint64     `json:"unjudged,omitempty"` // of those nobody was asked: of no concern then, or out of scope
	Unsure   []string   `json:"unsure,omitempty"`   // where the record is less than the act
	Examples []example  `json:"examples"`
}

type example struct {
	Seq    uint64    `json:"seq"`
	Time   time.Time `json:"time"`
	PID    int32     `json:"pid"`
	Object string    `json:"object"`
	Cgroup string    `json:"cgroup"`
	Text   string    `json:"message,omitempty"`
}

// replayed is the answer of replay.
type replayed struct {
	Recording   *summary          `json:"recording"`
	New         string            `json:"new_revision"`
	Old         string            `json:"old_revision"` // "recorded": the verdicts of the record
	Totals      map[string]uint64 `json:"totals"`       // acts by kind of change; same
	Changes     []*change         `json:"changes"`
	Disagrees   []*change         `json:"disagrees"` // recorded verdicts that their own revision does not give now
	Asked       uint64            `json:"asked"`     // acts for which OPA had to be asked
	Unsure      uint64            `json:"unsure"`    // of those whose record lacks what OPA may have read
	Seconds     float64           `json:"seconds"`
	PerSecond   float64           `json:"events_per_second"`
	failingKind string
}

func (a *app) replay(ctx context.Context, src source, f *replayFlags) error {
	packs, err := findPacks(f.packs)
	if err != nil {
		return err
	}
	next, _, err := src.load(ctx, packs...)
	if err != nil {
		return err
	}
	defer next.Close(context.WithoutCancel(ctx))
	r := &replayer{next: next, changes: map[changeKey]*change{}, out: &replayed{New: next.Revision(), Old: "recorded", Totals: map[string]uint64{},
		Changes: []*change{}, Disagrees: []*change{}}}
	if f.old != "" {
		if r.old, _, err = namedSource(f.old).load(ctx); err != nil {
			return err
		}
		defer r.old.Close(context.WithoutCancel(ctx))
		r.out.Old = r.old.Revision()
	}
	start := time.Now()
	s, err := a.read(ctx, &f.recording, func(e *event.Event) error { return r.act(ctx, e) })
	if err != nil {
		return err
	}
	r.finish(s, time.Since(start), f.failOn)
	if a.output == "text" {
		err = a.replayText(r.out, f.top)
	} else {
		err = a.printValue(r.out)
	}
	if err != nil || r.out.failingKind == "" {
		return err
	}
	return quietError{fmt.Errorf("there are acts that are %s", r.out.failingKind)}
}

func (a *app) replayText(o *replayed, top int) error {
	var b strings.Builder
	paint := a.paint()
	fmt.Fprintf(&b, "%s\n%s instead of %s: ", o.Recording.line(), word(o.New), word(o.Old))
	var parts []string
	for _, kind := range failures {
		if n := o.Totals[kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	parts = append(parts, fmt.Sprintf("%d the same", o.Totals["same"]))
	fmt.Fprintf(&b, "%s (OPA was asked for %d; %.0f acts a second)\n", strings.Join(parts, ", "), o.Asked, o.PerSecond)
	if o.Unsure > 0 {
		fmt.Fprintf(&b, "not sure: of %d acts that OPA was asked about the record is not whole (cut, or refused before arguments were known)\n", o.Unsure)
	}
	shown := map[string]int{}
	for _, c := range append(slices.Clone(o.Changes), o.Disagrees...) {
		if shown[c.Kind]++; top > 0 && shown[c.Kind] > top {
			if shown[c.Kind] == top+1 {
				fmt.Fprintf(&b, "  more of %s (--top 0 shows all)\n", c.Kind)
			}
			continue
		}
		if shown[c.Kind] == 1 {
			fmt.Fprintf(&b, "\n%s\n", paint.as(kindColour(c.Kind), c.Kind))
		}
		c.text(&b)
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

func kindColour(kind string) string {
	switch kind {
	case "newly-denied", "disagrees":
		return red
	case "no-longer-denied":
		return green
	}
	return yellow
}

func (c *change) text(b *strings.Builder) {
	fmt.Fprintf(b, "%8d  %s %s  %s → %s\n", c.Count, c.Hook, word(c.Exe), c.Old, c.New)
	if c.Unjudged > 0 {
		fmt.Fprintf(b, "          of %d nobody was asked: no rule concerned them then, or they were out of scope\n", c.Unjudged)
	}
	for _, why := range c.Unsure {
		fmt.Fprintf(b, "          not sure: %s\n", visible(why))
	}
	for _, x := range c.Examples {
		fmt.Fprintf(b, "          %s  %d → %s  in %s", x.Time.Local().Format(time.DateTime), x.PID, x.Object, word(x.Cgroup))
		if x.Text != "" {
			fmt.Fprintf(b, "  %s", visible(x.Text))
		}
		fmt.Fprintf(b, "  (seq %d)\n", x.Seq)
	}
}

// String shows a verdict with its rule.
func (s side) String() string {
	out := s.Verdict.String()
	if s.Rule != "" {
		out += " " + word(s.Rule)
	}
	if s.Audit {
		out += " (never blocks)"
	}
	return out
}

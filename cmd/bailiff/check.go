package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"example.com/bailiff/policy"
	"example.com/bailiff/policy/lower"
)

func (a *app) checkCmd() *cobra.Command {
	var requireLowered bool
	var kernel assumed
	var packNames []string
	c := &cobra.Command{
		Use:   "check [BUNDLE]",
		Short: "Say what is wrong with a bundle",
		Long: `Compile and lower a bundle (a directory or a tar.gz file; the embedded rules if
none is given) as the agent would, and say what is wrong with it. It needs
neither root nor an agent. Exit code 1: the agent would refuse the bundle.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			packs, err := findPacks(packNames)
			if err != nil {
				return err
			}
			src := sourceArg(args)
			p, r, err := src.loadFor(c.Context(), kernel.target(), packs...)
			if err != nil {
				return a.checkFailed(src, err)
			}
			var open []policy.ExplainedRule
			if requireLowered {
				open = notLowered(p)
			}
			if err := a.checkDone(src, r, open); err != nil {
				return err
			}
			if len(open) > 0 {
				return quietError{errors.New("rules are not wholly lowered")}
			}
			return nil
		},
	}
	packsFlag(c.Flags(), &packNames)
	kernel.flags(c.Flags())
	c.Flags().BoolVar(&requireLowered, "require-lowered", false, "fail if a rule is not decided wholly by the kernel")
	return c
}

// checked is the JSON answer of check.
type checked struct {
	OK         bool                   `json:"ok"`
	Source     string                 `json:"source"`
	Revision   string                 `json:"revision,omitempty"`
	Rules      int                    `json:"rules"`
	Lowered    int                    `json:"lowered"`
	Errors     policy.Errors          `json:"errors"`
	Warnings   policy.Errors          `json:"warnings"`
	NotLowered []policy.ExplainedRule `json:"not_lowered,omitempty"` // with --require-lowered
}

func (a *app) checkFailed(src source, err error) error {
	if a.output == "text" {
		return err
	}
	out := checked{Source: src.String(), Errors: policy.Errors{}, Warnings: policy.Errors{}}
	var one *policy.Error
	if !errors.As(err, &out.Errors) {
		if !errors.As(err, &one) {
			one = &policy.Error{Code: policy.CodeRead, Why: err.Error()}
		}
		out.Errors = policy.Errors{one}
	}
	if err := a.printJSON(out); err != nil {
		return err
	}
	return quietError{err}
}

func (a *app) checkDone(src source, r *policy.Report, open []policy.ExplainedRule) error {
	if a.output == "json" {
		warnings := r.Warnings
		if warnings == nil {
			warnings = policy.Errors{}
		}
		return a.printJSON(checked{
			OK: len(open) == 0, Source: src.String(), Revision: r.Revision, Rules: r.Rules, Lowered: r.Lowered,
			Errors: policy.Errors{}, Warnings: warnings, NotLowered: open,
		})
	}
	for _, w := range r.Warnings {
		var b strings.Builder
		if err := policy.FormatErrors(&b, w); err != nil {
			return err
		}
		fmt.Fprint(a.err, visibleLines(strings.Replace(b.String(), "error:", "warning:", 1)))
	}
	for _, e := range open {
		fmt.Fprintf(a.err, "error: %s:%d: %s is not decided by the kernel alone (%s)\n", word(e.Rule.File), e.Rule.Line, word(e.Rule.ID), e.Class)
		for _, d := range e.Reasons {
			fmt.Fprintf(a.err, "  %s:%d: %s %s\n", word(d.File), d.Line, d.Code, visible(d.Why))
			if d.Hint != "" {
				fmt.Fprintf(a.err, "  hint: %s\n", visible(d.Hint))
			}
		}
	}
	verdict := "ok"
	if len(open) > 0 {
		verdict = "not wholly lowered"
	}
	_, err := fmt.Fprintf(a.out, "%s: %s, revision %s: %d rules, %d of them decided by the kernel alone\n",
		verdict, visible(src.String()), word(r.Revision), r.Rules, r.Lowered)
	return err
}

func notLowered(p *policy.Policy) []policy.ExplainedRule {
	var out []policy.ExplainedRule
	for _, e := range p.Explain() {
		if e.Class == lower.ClassPrefiltered || e.Class == lower.ClassFull || e.Class == lower.ClassHeld {
			out = append(out, e)
		}
	}
	return out
}

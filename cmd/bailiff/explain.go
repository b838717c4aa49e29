package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/policy"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

func (a *app) explainCmd() *cobra.Command {
	var rule, from string
	var packNames []string
	var clauses, running bool
	var kernel assumed
	var ev eventFlags
	c := &cobra.Command{
		Use:   "explain [BUNDLE]",
		Short: "Show where each rule is decided, and why",
		Long: `Show for each rule of a bundle (a directory or a tar.gz file; the embedded rules
if none is given) whether the kernel decides it alone or OPA is asked, with the
place, the reason, and what to write instead. It needs neither root nor an agent;
with --running it is the policy that the agent has in force. With --recorded it
says for each rule what share of recorded acts reaches OPA because of it.

With --event it explains one recorded act: which rules fired, and of each
condition, in Rego and as the kernel tests it, whether it held. The act is named
by its number (seq), which is looked for in --from (a spool directory, a file of
"bailiff events -o json" lines, or without it what the running agent has kept),
or by a file that holds it as such a line. On a terminal you can step through the
rules.`,
		Example: `  bailiff explain ./rules
  bailiff explain ./rules --rule shadow-read --clauses
  bailiff explain ./rules --recorded /var/lib/bailiff/spool
  bailiff explain --event 4711                     # out of the agent's spool
  bailiff explain ./rules --event 4711 --from /var/lib/bailiff/spool
  bailiff events --limit 1 --verdict deny -o json | bailiff explain --event -`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if running {
				if len(args) > 0 || clauses || ev.which != "" || from != "" {
					return usageError{errors.New("--running goes without a bundle, without --clauses, --event and --recorded")}
				}
				return a.explainRunning(c, rule)
			}
			packs, err := findPacks(packNames)
			if err != nil {
				return err
			}
			src := sourceArg(args)
			switch {
			case ev.which != "" && clauses:
				return usageError{errors.New("--event goes without --clauses: it always shows them")}
			case ev.which == "" && (ev.run != "" || ev.from != "" || ev.noPrompt):
				return usageError{errors.New("--from, --run and --no-prompt go with --event")}
			}
			p, _, err := src.loadFor(c.Context(), kernel.target(), packs...)
			if err != nil {
				return err
			}
			if ev.which != "" {
				ev.rule = rule
				return a.explainEvent(c.Context(), p, src, &ev)
			}
			if rule != "" && !slices.ContainsFunc(p.Explain(), func(e policy.ExplainedRule) bool { return e.Rule.ID == rule }) {
				return noRule(rule, src.String())
			}
			var shares *policy.Shares
			if from != "" {
				shares = p.NewShares()
				if _, err := a.read(c.Context(), &recording{from: from}, func(e *event.Event) error { shares.Add(e); return nil }); err != nil {
					return err
				}
			}
			var b strings.Builder
			err = policy.Explain(&b, p, policy.ExplainOptions{JSON: a.output == "json", Clauses: clauses, Rule: rule, Shares: shares})
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.out, visibleJSONOrLines(b.String(), a.output))
			return err
		},
	}
	packsFlag(c.Flags(), &packNames)
	kernel.flags(c.Flags())
	c.Flags().StringVar(&rule, "rule", "", "only the rule with this id")
	c.Flags().StringVar(&from, "recorded", "", "count over recorded acts what reaches OPA: a spool directory, a file of JSON lines, or - for standard input")
	c.Flags().BoolVar(&clauses, "clauses", false, "also the conditions that the kernel tests (text output)")
	c.Flags().BoolVar(&running, "running", false, "the policy that the agent has in force")
	c.Flags().StringVar(&ev.which, "event", "", "explain one recorded act: its number, or a file (- is standard input) that holds it")
	c.Flags().StringVar(&ev.from, "from", "", "recording in which the number is looked for (default: what the running agent has kept)")
	c.Flags().StringVar(&ev.run, "run", "", "run of the agent that the number belongs to (default: the newest that has it)")
	c.Flags().BoolVar(&ev.noPrompt, "no-prompt", false, "do not ask which rule to show next")
	return c
}

func visibleJSONOrLines(s, output string) string {
	if output == "json" {
		return string(printable(strings.TrimSuffix(s, "\n")))
	}
	return visibleLines(s)
}

func noRule(id, where string) error {
	return &userError{Code: "no-rule", Why: fmt.Sprintf("%s has no rule with the id %q", where, id), Hint: "bailiff explain lists them all"}
}

// explainRunning asks the agent.
func (a *app) explainRunning(c *cobra.Command, rule string) error {
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := bailiffv1.NewAgentServiceClient(conn).Policy(c.Context(), &bailiffv1.PolicyRequest{})
	if err != nil {
		return a.callError(err)
	}
	p := server.DecodePolicy(r)
	if rule != "" {
		p.Rules = slices.DeleteFunc(p.Rules, func(r server.Rule) bool { return r.Ref.ID != rule })
		if len(p.Rules) == 0 {
			return noRule(rule, "the policy in force")
		}
	}
	if a.output == "json" {
		return a.printJSON(p)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "revision %s, generation %d, from %s\n", word(p.Revision), p.Generation, visible(p.Source))
	for _, r := range p.Rules {
		fmt.Fprintf(&b, "%-5s %s:%d  %s  %s\n      %s: %s%s\n", r.Verdict, word(r.Ref.File), r.Ref.Line, word(r.Ref.ID), visible(r.Ref.Title),
			r.Hook, strings.ToUpper(word(r.Class)), consequences(&r))
		for _, why := range r.Reasons {
			fmt.Fprintf(&b, "        %s:%d  %s %s\n", word(why.File), why.Line, word(why.Code), visible(why.Why))
			if why.Hint != "" {
				fmt.Fprintf(&b, "          hint: %s\n", visible(why.Hint))
			}
		}
	}
	_, err = fmt.Fprint(a.out, b.String())
	return err
}

func consequences(r *server.Rule) string {
	out := ""
	if r.Audit {
		out += ", never blocks"
	}
	if r.Response == "kill" {
		out += ", kills"
	}
	if len(r.Reasons) > 0 {
		out += "; undecided: " + r.Undecided
	}
	return out
}

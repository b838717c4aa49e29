package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.com/bailiff/internal/server"
	"example.com/bailiff/policy"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

func (a *app) explainCmd() *cobra.Command {
	var rule string
	var packNames []string
	var clauses, running bool
	c := &cobra.Command{
		Use:   "explain [BUNDLE]",
		Short: "Show where each rule is decided, and why",
		Long: `Show for each rule of a bundle (a directory or a tar.gz file; the embedded rules
if none is given) whether the kernel decides it alone or OPA is asked, with the
place, the reason, and what to write instead. It needs neither root nor an agent;
with --running it is the policy that the agent has in force.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if running {
				if len(args) > 0 || clauses {
					return usageError{errors.New("--running goes without a bundle and without --clauses")}
				}
				return a.explainRunning(c, rule)
			}
			packs, err := findPacks(packNames)
			if err != nil {
				return err
			}
			src := sourceArg(args)
			p, _, err := src.load(c.Context(), packs...)
			if err != nil {
				return err
			}
			if rule != "" && !slices.ContainsFunc(p.Explain(), func(e policy.ExplainedRule) bool { return e.Rule.ID == rule }) {
				return noRule(rule, src.String())
			}
			var b strings.Builder
			err = policy.Explain(&b, p, policy.ExplainOptions{JSON: a.output == "json", Clauses: clauses, Rule: rule})
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(a.out, visibleJSONOrLines(b.String(), a.output))
			return err
		},
	}
	packsFlag(c.Flags(), &packNames)
	c.Flags().StringVar(&rule, "rule", "", "only the rule with this id")
	c.Flags().BoolVar(&clauses, "clauses", false, "also the conditions that the kernel tests (text output)")
	c.Flags().BoolVar(&running, "running", false, "the policy that the agent has in force")
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

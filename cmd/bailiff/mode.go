package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

func (a *app) modeCmd() *cobra.Command {
	return &cobra.Command{
		Use:       "mode audit|enforce",
		Short:     "Switch between audit and enforce",
		Long:      "Switch between audit (deny verdicts are recorded as would-deny) and enforce (they block), at once and for all rules. The change is in the event stream.",
		ValidArgs: []string{"audit", "enforce"},
		Args:      cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := event.ParseMode(args[0])
			if err != nil {
				return usageError{fmt.Errorf("mode: %w", err)}
			}
			conn, err := a.dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			r, err := bailiffv1.NewAgentServiceClient(conn).SetMode(c.Context(), &bailiffv1.SetModeRequest{Mode: server.EncodeMode(m)})
			if err != nil {
				return a.callError(err)
			}
			old := server.DecodeMode(r.GetPrevious())
			if a.output == "json" {
				return a.printJSON(map[string]event.Mode{"mode": m, "previous": old})
			}
			_, err = fmt.Fprintf(a.out, "mode is %s, was %s\n", m, old)
			return err
		},
	}
}

func (a *app) reloadCmd() *cobra.Command {
	var rollback bool
	c := &cobra.Command{
		Use:   "reload",
		Short: "Make the agent read its bundle again",
		Long: `Make the agent read, or fetch, its bundle again now. If anything is wrong with it
the policy in force stays, and what is wrong is said here and in the event stream.`,
		Example: `  bailiff reload
  bailiff reload --allow-rollback    # the bundle that is published now is an older one, on purpose`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			conn, err := a.dial()
			if err != nil {
				return err
			}
			defer conn.Close()
			r, err := bailiffv1.NewAgentServiceClient(conn).ReloadPolicy(c.Context(), &bailiffv1.ReloadPolicyRequest{AllowRollback: rollback})
			if err != nil {
				return a.callError(err)
			}
			if a.output == "json" {
				return a.printJSON(map[string]any{
					"revision": r.GetRevision(), "generation": r.GetGeneration(), "previous_revision": r.GetPreviousRevision(),
				})
			}
			_, err = fmt.Fprintf(a.out, "policy %s is in force (generation %d), was %s\n", word(r.GetRevision()), r.GetGeneration(), word(r.GetPreviousRevision()))
			return err
		},
	}
	c.Flags().BoolVar(&rollback, "allow-rollback", false, "accept a bundle that is older than the one in force")
	return c
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // it was tried and did not work, or the answer is no
	exitUsage   = 2 // it was not understood, nothing was tried
)

// defaultSocket is where the agent listens and the tools call.
const defaultSocket = "/run/bailiff/bailiff.sock"

// defaultStateDir is where the agent keeps what outlasts a restart.
const defaultStateDir = "/var/lib/bailiff"

// app is one run of the program.
type app struct {
	out, err io.Writer
	getenv   func(string) string
	terminal bool // out is one

	remote remote
	flags  *pflag.FlagSet // of all commands
	target string         // what dial dialled

	output  string // text or json
	noColor bool
}

// main runs the command line and returns the exit code.
func (a *app) main(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var u usageError
	var q quietError
	switch {
	case errors.As(err, &q):
		return exitFailure
	case errors.As(err, &u):
		fmt.Fprintf(a.err, "bailiff: %s\n  hint: %s --help\n", visible(err.Error()), cmd.CommandPath())
		return exitUsage
	}
	a.complain(err)
	return exitFailure
}

// usageError marks a command line that was not understood.
type usageError struct{ error }

// quietError is a failure of which everything has been said.
type quietError struct{ error }

func (a *app) root() *cobra.Command {
	c := &cobra.Command{
		Use:           "bailiff",
		Short:         "Enforce Rego policies in the kernel, before the act",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q", args[0])}
			}
			return c.Help()
		},
		PersistentPreRunE: func(c *cobra.Command, _ []string) error {
			switch {
			case a.output == "text", a.output == "json", a.output == "yaml" && c.Annotations["yaml"] != "",
				(a.output == "ocsf" || a.output == "ecs") && c.Annotations["siem"] != "":
				return nil
			case c.Annotations["siem"] != "":
				return usageError{fmt.Errorf("output %q is not one of text, json, ocsf, ecs", a.output)}
			case c.Annotations["yaml"] != "":
				return usageError{fmt.Errorf("output %q is not one of text, json, yaml", a.output)}
			}
			return usageError{fmt.Errorf("output %q is not one of text, json", a.output)}
		},
	}
	c.SetOut(a.out)
	c.SetErr(a.err)
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	f := c.PersistentFlags()
	a.flags = f
	a.remote.flags(f)
	f.StringVarP(&a.output, "output", "o", "text", "text, or json; some commands: yaml; events: ocsf, ecs")
	_ = c.RegisterFlagCompletionFunc("output", fixed("text", "json", "yaml", "ocsf", "ecs"))
	f.BoolVar(&a.noColor, "no-color", false, "no colours, as with NO_COLOR set (they are only for terminals anyway)")
	c.AddCommand(a.runCmd(), a.eventsCmd(), a.statusCmd(), a.modeCmd(), a.reloadCmd(),
		a.explainCmd(), a.checkCmd(), a.doctorCmd(), a.versionCmd(), a.tryCmd())
	c.AddCommand(a.applyCmd(), a.confirmCmd(), a.learnCmd())
	c.AddCommand(a.testCmd(), a.reportCmd(), a.replayCmd())
	c.AddCommand(a.initCmd(), a.schemaCmd())
	c.AddCommand(a.packCmd())
	for _, sub := range c.Commands() {
		sub.Args = usage(sub.Args)
	}
	return c
}

// usage makes what a command says about its arguments a usage error.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// paint returns how to colour: nothing unless a person looks.
func (a *app) paint() paint {
	return paint{on: a.terminal && !a.noColor && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb"}
}

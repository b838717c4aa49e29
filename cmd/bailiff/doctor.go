package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"example.com/bailiff/bpf"
)

func (a *app) doctorCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Say what this kernel lets Bailiff do",
		Long: `Try out what this kernel allows, by loading and attaching small programs, and
say what is lost without it and what to do. It needs root, and no agent; nothing
stays behind. Exit code 0: a backend can refuse acts before they happen (enforce
works for all hooks). Exit code 1: none can.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			features := bpf.Probe(c.Context())
			best := bestBackend(features)
			refuses := best == bpf.BackendLSM || best == bpf.BackendModifyReturn
			if a.output == "json" {
				err := a.printJSON(map[string]any{"features": features, "backend": best, "can_refuse": refuses})
				if err != nil {
					return err
				}
			} else {
				a.showFeatures(features, best, refuses)
			}
			if !refuses {
				return quietError{errors.New("no backend can refuse acts")}
			}
			return nil
		},
	}
}

// bestBackend is the one that `auto` takes: the first that works, "" if none.
func bestBackend(features []bpf.Feature) string {
	for _, name := range []string{bpf.BackendLSM, bpf.BackendModifyReturn, bpf.BackendTracepoint} {
		if slices.ContainsFunc(features, func(f bpf.Feature) bool { return f.Name == name && f.State == "yes" }) {
			return name
		}
	}
	return ""
}

func (a *app) showFeatures(features []bpf.Feature, best string, refuses bool) {
	p := a.paint()
	for _, f := range features {
		colour := map[string]string{"yes": green, "no": red}[f.State]
		fmt.Fprintf(a.out, "%s  %-14s %s\n", p.as(colour, fmt.Sprintf("%-7s", f.State)), f.Name, visible(f.Why))
		if f.State != "yes" {
			fmt.Fprintf(a.out, "%24s lost: %s\n%24s remedy: %s\n", "", visible(f.Lost), "", visible(f.Remedy))
		}
	}
	fmt.Fprintln(a.out)
	switch {
	case refuses:
		fmt.Fprintf(a.out, "%s: the %s backend refuses exec, open and fork before they happen.\n", p.as(green, "Enforcement works"), best)
	case best == "":
		fmt.Fprintf(a.out, "%s.\n", p.as(red, "Bailiff cannot run here"))
	default:
		fmt.Fprintf(a.out, `%s: only the %s backend works. It kills a denied exec before its
first instruction; it cannot refuse an open or a fork, those are reported only.
Audit mode works in full. To enforce in spite of that: bailiff run --backend %[2]s --mode enforce
`, p.as(yellow, "Nothing can be refused"), best)
	}
}

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"example.com/bailiff/policy"
	"example.com/bailiff/rules"
)

// packsFlag binds the list of packs to --pack.
func packsFlag(f *pflag.FlagSet, to *[]string) {
	f.StringSliceVar(to, "pack", nil, "add a pack of rules: `NAME`, or NAME=FILE with data for it (JSON); repeat or separate by commas. \"bailiff pack\" lists them")
}

// findPacks finds packs by what --pack says.
func findPacks(named []string) ([]policy.Pack, error) {
	var out []policy.Pack
	for _, s := range named {
		name, file, given := strings.Cut(s, "=")
		fsys, err := rules.Pack(name)
		switch {
		case name == "" || strings.ContainsAny(name, "/.") || err != nil:
			hint := "packs are " + strings.Join(rules.Packs(), ", ")
			if near := nearest(name, rules.Packs()); near != "" {
				hint = "did you mean " + near + "? " + hint
			}
			return nil, &userError{Code: "no-pack", Why: fmt.Sprintf("no pack is called %q", name), Hint: hint}
		case given && file == "":
			return nil, &userError{Code: "no-pack", Why: fmt.Sprintf("%q names no file", s), Hint: "leave the = out, or name a JSON file after it"}
		case slices.ContainsFunc(out, func(p policy.Pack) bool { return p.Name == name }):
			return nil, &userError{Code: "no-pack", Why: "the pack " + name + " is named twice"}
		}
		if file != "" {
			if file, err = filepath.Abs(file); err != nil {
				return nil, fmt.Errorf("find data of the pack %s: %w", name, err)
			}
		}
		out = append(out, policy.Pack{Name: name, FS: fsys, File: file})
	}
	return out, nil
}

func (a *app) packCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "pack",
		Short: "List the packs: rules for some machines, off by default",
		Long: `List the packs of rules that can be added to the embedded rules or to a bundle
(bailiff run --pack NAME), with what each would do. docs/packs.md describes them.`,
		Example: "  bailiff pack\n  bailiff check --pack miners,containers\n  bailiff run --pack miners --pack containers=/etc/bailiff/containers.json",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return a.listPacks(c.Context()) },
	}
	c.AddCommand(a.lockdownCmd())
	for _, sub := range c.Commands() {
		sub.Args = usage(sub.Args)
	}
	return c
}

// packInfo is the JSON answer of pack.
type packInfo struct {
	Name  string     `json:"name"`
	Needs []string   `json:"needs,omitempty"` // data that it cannot do without
	Rules []packRule `json:"rules"`
}

type packRule struct {
	ID       string   `json:"id"`
	Title    string   `json:"title"`
	Hook     string   `json:"hook"`
	Verdict  string   `json:"verdict"`
	Class    string   `json:"class"`
	Severity string   `json:"severity"`
	Attack   []string `json:"attack"`
}

func (a *app) listPacks(ctx context.Context) error {
	var all []packInfo
	for _, name := range rules.Packs() {
		fsys, err := rules.Pack(name)
		if err != nil {
			return fmt.Errorf("read pack %s: %w", name, err)
		}
		info := packInfo{Name: name}
		listed, needs, err := policy.Pack{Name: name, FS: fsys}.List(ctx)
		if err != nil {
			return err
		}
		info.Needs = needs
		for _, e := range listed {
			info.Rules = append(info.Rules, packRule{ID: e.Rule.ID, Title: e.Rule.Title, Hook: e.Hook.String(), Verdict: e.Verdict.String(),
				Class: e.Class.String(), Severity: e.Rule.Severity, Attack: e.Rule.Attack})
		}
		all = append(all, info)
	}
	if a.output == "json" {
		return a.printJSON(all)
	}
	for _, p := range all {
		fmt.Fprint(a.out, p.Name)
		if len(p.Needs) > 0 {
			fmt.Fprintf(a.out, "  (needs data: %s; see `bailiff pack %s --help`)", strings.Join(p.Needs, ", "), p.Name)
		}
		fmt.Fprintln(a.out)
		for _, r := range p.Rules {
			fmt.Fprintf(a.out, "  %-5s %-5s %-28s %s\n", r.Verdict, r.Hook, r.ID, r.Title)
		}
	}
	return nil
}

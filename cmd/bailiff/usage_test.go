package main

import (
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestHelpOfFlags: a flag's value has a name of one word, and every command and
// flag says what it is for. (Backquotes in a usage text name the value.)
func TestHelpOfFlags(t *testing.T) {
	a := &app{out: io.Discard, err: io.Discard, getenv: func(string) string { return "" }}
	var each func(*cobra.Command)
	each = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if c.Short == "" {
			t.Errorf("%s says nothing about itself", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if name, usage := pflag.UnquoteUsage(f); strings.ContainsAny(name, " \t") || usage == "" {
				t.Errorf("%s --%s %s: %q", c.CommandPath(), f.Name, name, usage)
			}
		})
		for _, sub := range c.Commands() {
			each(sub)
		}
	}
	each(a.root())
}

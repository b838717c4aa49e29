package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"example.com/bailiff/internal/redact"
)

// TestDocumentedConfiguration: the file in docs/operating.md has every key,
// with its default.
func TestDocumentedConfiguration(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```yaml\n")
	text, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/operating.md has no configuration")
	}
	for _, key := range configKeys() {
		if !strings.Contains(text, key+":") {
			t.Errorf("docs/operating.md does not explain %s", key)
		}
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var defaults, documented config
	defaults.flags(pflag.NewFlagSet("", pflag.ContinueOnError))
	defaults.Socket = defaultSocket
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	documented.flags(f)
	if err := documented.load(file, f); err != nil {
		t.Fatal(err)
	}
	// An empty list in the file is no list in the defaults.
	for _, l := range []*[]string{&documented.Packs, &defaults.Packs, &documented.Scope, &documented.Rescue, &documented.Events.Env, &documented.Listen.Operators, &documented.Listen.Readers, &documented.Gate.Mounts, &documented.StepDown.Never,
		&defaults.Scope, &defaults.Rescue, &defaults.Events.Env, &defaults.Listen.Operators, &defaults.Listen.Readers, &defaults.Gate.Mounts, &defaults.StepDown.Never} {
		*l = append([]string{}, *l...)
	}
	documented.Sinks = append([]sinkConfig(nil), documented.Sinks...)
	documented.Redact.Rules = append([]redact.Rule(nil), documented.Redact.Rules...)
	if !reflect.DeepEqual(documented, defaults) {
		t.Errorf("documented %+v\ndefaults   %+v", documented, defaults)
	}
}

func TestFlagsGoBeforeTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	text := "mode: enforce\nscope: [/a, /b]\nevents: {all_opens: true, env: [A, B]}\nlog: {level: warn}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var c config
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	c.flags(f)
	if err := f.Parse([]string{"--mode", "audit", "--scope", "/c", "--env", "X,Y", "--all-opens=false"}); err != nil {
		t.Fatal(err)
	}
	if err := c.load(file, f); err != nil {
		t.Fatal(err)
	}
	if c.Mode != "audit" || !reflect.DeepEqual(c.Scope, []string{"/c"}) || !reflect.DeepEqual(c.Events.Env, []string{"X", "Y"}) ||
		c.Events.AllOpens || c.Log.Level != "warn" || c.Backend != "auto" {
		t.Errorf("got %+v", c)
	}
}

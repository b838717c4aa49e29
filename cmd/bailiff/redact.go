package main

import (
	"errors"

	"github.com/spf13/pflag"

	"example.com/bailiff/internal/redact"
)

// redactConfig says which secrets are hidden in events before they are kept or
// sent.
type redactConfig struct {
	Defaults bool          `yaml:"defaults"`
	Rules    []redact.Rule `yaml:"rules"`
}

func (c *redactConfig) flags(f *pflag.FlagSet) {
	f.BoolVar(&c.Defaults, "redact-defaults", true, "hide what the rules that ship take for secrets; further rules are for the configuration file")
}

// redactor makes the rules ready: those of the file first.
func (c *redactConfig) redactor() (*redact.Redactor, error) {
	rules := c.Rules
	if c.Defaults {
		rules = append(rules[:len(rules):len(rules)], redact.Defaults()...)
	}
	r, err := redact.New(rules)
	var bad *redact.Error
	if errors.As(err, &bad) {
		return nil, &userError{Code: "config", Why: "redact.rules: " + bad.Error(),
			Hint: `a rule has a name and at least one of options: ["--pin"], attached: ["-p"], env: ["*_PIN"], patterns: ['pin=(\d+)']`}
	}
	return r, err
}

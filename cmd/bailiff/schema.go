package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"example.com/bailiff/policy"
)

// schemaNames are the schemas that can be printed.
var schemaNames = []string{"input", "scenario"}

func (a *app) schemaCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [input|scenario]",
		Short: "Print a JSON Schema for editors and for opa check",
		Long: `Print the JSON Schema of the input document that rules read (input, the default),
or of scenario files with acts for "bailiff test" (scenario). With rules that name
it (# schemas: - input: schema.input), "opa check --schema DIR" finds misspelt
fields as "bailiff check" does.`,
		Example: `  bailiff schema > schemas/input.json
  opa check --strict --bundle . --schema schemas
  bailiff schema scenario > schemas/scenario.json`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: fixed(schemaNames...),
		Annotations:       map[string]string{"yaml": "true"},
		RunE: func(_ *cobra.Command, args []string) error {
			name := "input"
			if len(args) > 0 {
				name = args[0]
			}
			s, err := schemaOf(name)
			if err != nil {
				return err
			}
			return a.printValue(s)
		},
	}
}

func schemaOf(name string) (map[string]any, error) {
	switch name {
	case "input":
		return policy.Schema(), nil
	case "scenario":
		return policy.ScenarioSchema(), nil
	}
	return nil, usageError{fmt.Errorf("schema %q is not one of input, scenario", name)}
}

package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// plainYAML is what can stand in YAML without quotes and mean itself.
var plainYAML = regexp.MustCompile(`^[A-Za-z/][A-Za-z0-9/._+@-]*( [A-Za-z0-9/._+@-]+)*$`)

// yamlWords would be something else than text.
var yamlWords = []string{"true", "false", "yes", "no", "on", "off", "null", "y", "n"}

// toYAML writes JSON as YAML with the same order of keys. Every text that is
// not plain stands in quotes, with escapes as in JSON: what an attacker has
// named cannot become structure, nor act on a terminal.
func toYAML(json []byte) ([]byte, error) {
	var v any
	if err := yaml.UnmarshalWithOptions(json, &v, yaml.UseOrderedMap()); err != nil {
		return nil, err
	}
	var b strings.Builder
	writeYAML(&b, v, "")
	return []byte(b.String()), nil
}

// writeYAML writes a document, or what stands below a key.
func writeYAML(b *strings.Builder, v any, indent string) {
	switch v := v.(type) {
	case yaml.MapSlice:
		if len(v) == 0 {
			b.WriteString("{}\n")
		}
		for i, item := range v {
			if i > 0 {
				b.WriteString(indent)
			}
			b.WriteString(scalarYAML(item.Key))
			b.WriteByte(':')
			belowKey(b, item.Value, indent)
		}
	case []any:
		if len(v) == 0 {
			b.WriteString("[]\n")
		}
		for i, item := range v {
			if i > 0 {
				b.WriteString(indent)
			}
			b.WriteString("- ")
			writeYAML(b, item, indent+"  ")
		}
	default:
		b.WriteString(scalarYAML(v))
		b.WriteByte('\n')
	}
}

func belowKey(b *strings.Builder, v any, indent string) {
	inner := indent + "  "
	m, isMap := v.(yaml.MapSlice)
	l, isList := v.([]any)
	if isMap && len(m) > 0 || isList && len(l) > 0 {
		b.WriteString("\n" + inner)
	} else {
		b.WriteByte(' ')
	}
	writeYAML(b, v, inner)
}

func scalarYAML(v any) string {
	s, ok := v.(string)
	switch {
	case !ok && v == nil:
		return "null"
	case !ok:
		return fmt.Sprint(v)
	case plainYAML.MatchString(s) && !slices.Contains(yamlWords, strings.ToLower(s)):
		return s
	}
	b, err := jsonLine(s)
	if err != nil {
		return `""` // cannot be: a string is always JSON
	}
	return strings.TrimSpace(string(b))
}

package policy

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
)

// Schema returns the JSON Schema of the input document, generated from the
// field table. OPA checks rules against it, editors may use it too.
func Schema() map[string]any {
	root := object()
	for _, f := range event.Fields {
		at := root
		keys := strings.Split(f.Path, ".")
		for _, k := range keys[:len(keys)-1] {
			props := at["properties"].(map[string]any)
			if props[k] == nil {
				props[k] = object()
				at["required"] = append(at["required"].([]any), k)
			}
			at = props[k].(map[string]any)
		}
		last := keys[len(keys)-1]
		at["properties"].(map[string]any)[last] = fieldSchema(f)
		at["required"] = append(at["required"].([]any), last)
	}
	root["$schema"] = "http://json-schema.org/draft-07/schema#"
	root["title"] = "Bailiff input document"
	return root
}

// ScenarioSchema returns the JSON Schema of scenario files, for editors.
func ScenarioSchema() map[string]any {
	input := Schema()
	optional(input)
	delete(input, "$schema")
	delete(input, "title")
	hook := map[string]any{"type": "string", "enum": []any{"exec", "open", "fork"}, "description": "what the act is"}
	text := func(doc string) map[string]any { return map[string]any{"type": "string", "description": doc} }
	closed := func(required []any, props map[string]any) map[string]any {
		return map[string]any{"type": "object", "additionalProperties": false, "required": required, "properties": props}
	}
	out := closed([]any{"acts"}, map[string]any{
		"hook":  hook,
		"input": input,
		"acts": map[string]any{"type": "array", "items": closed([]any{"name", "verdict"}, map[string]any{
			"name": text("what it is, in a few words"), "hook": hook, "input": input,
			"verdict": map[string]any{"type": "string", "enum": []any{"allow", "alert", "deny"}, "description": "what the rules must say"},
			"rule":    text("id of the rule that must decide"),
			"message": text("must be part of that rule's message"),
		})},
	})
	out["$schema"] = "http://json-schema.org/draft-07/schema#"
	out["title"] = "Bailiff scenario: acts with the verdicts that they must have"
	return out
}

// optional takes out of a schema that parts must be there.
func optional(schema map[string]any) {
	delete(schema, "required")
	props, _ := schema["properties"].(map[string]any)
	for _, p := range props {
		if sub, ok := p.(map[string]any); ok {
			optional(sub)
		}
	}
}

func object() map[string]any {
	return map[string]any{"type": "object", "properties": map[string]any{}, "required": []any{}, "additionalProperties": false}
}

func fieldSchema(f event.Field) map[string]any {
	s := map[string]any{"description": f.Doc}
	str := map[string]any{"type": "string"}
	switch f.Kind {
	case event.KindInt:
		s["type"] = "integer"
	case event.KindFlags:
		names := make([]any, len(f.Bits))
		for i, b := range f.Bits {
			names[i] = b
		}
		s["type"], s["items"] = "array", map[string]any{"type": "string", "enum": names}
	case event.KindPaths, event.KindList, event.KindNames:
		s["type"], s["items"] = "array", str
	case event.KindMap:
		s["type"], s["additionalProperties"] = "object", str
	default:
		s["type"] = "string"
	}
	return s
}

// forbidden are the built-ins that a policy in the path of every exec must not
// have: they reach out of the machine, differ from call to call, or do not
// stop at a deadline.
var forbidden = map[string]string{
	"http.send":               "it reaches out to the network",
	"net.lookup_ip_addr":      "it reaches out to the network",
	"net.cidr_expand":         "its answer may have any size",
	"strings.render_template": "it does not stop at a deadline",
	"providers.aws.sign_req":  "it signs with keys",
	"opa.runtime":             "it reads the environment of the agent",
	"rand.intn":               "it gives a different answer each time",
	"uuid.rfc4122":            "it gives a different answer each time",
	"io.jwt.encode_sign":      "it signs with keys",
	"io.jwt.decode_verify":    "it depends on the clock and on keys",
	"bits.lsh":                "it does not stop at a deadline",
	"trace":                   "it does nothing here",
	"io.jwt.encode_sign_raw":  "it signs with keys",
}

// Capabilities is what a policy may use: OPA's, without the forbidden
// built-ins and without network.
func Capabilities() *ast.Capabilities {
	c := ast.CapabilitiesForThisVersion()
	var keep []*ast.Builtin
	for _, b := range c.Builtins {
		if _, no := forbidden[b.Name]; !no {
			keep = append(keep, b)
		}
	}
	c.Builtins, c.AllowNet = keep, []string{}
	return c
}

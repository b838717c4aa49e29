package policy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// keyPlan is what the decision key of one hook is made of.
type keyPlan struct {
	fields []string // paths below input, sorted
	nodes  []*node  // the same, in the document
	cached bool     // the answer is a function of the fields
}

// planKey: a deferred rule's answer depends on the parts that were dropped from
// its clauses and on the conditions that were kept.
func planKey(rules []ir.Rule) keyPlan {
	k := keyPlan{cached: true}
	for i := range rules {
		if !slices.ContainsFunc(rules[i].Clauses, func(c ir.Clause) bool { return c.Maybe }) {
			continue
		}
		for _, c := range rules[i].Clauses {
			for _, w := range c.When {
				k.fields = append(k.fields, event.FieldByID(w.Field).Path)
				if w.Op == ir.OpSame {
					k.fields = append(k.fields, event.FieldByID(w.Other).Path)
				}
			}
			for _, f := range c.Reads {
				if f == "input" || f == "time" {
					k.cached = false
					continue
				}
				k.fields = append(k.fields, f)
			}
		}
	}
	slices.Sort(k.fields)
	k.fields = slices.Compact(k.fields)
	return k
}

// KeyOf returns the decision key of an event for the deferred rules of its
// hook: that, the fields that they read, and nothing else. ok is false when their
// answer may not be kept, because it reads the time or all of input.
func (p *Policy) KeyOf(e *event.Event) (key string, ok bool) {
	h := p.hooks[e.Hook.Package()]
	if h == nil || !h.key.cached {
		return "", h == nil
	}
	var b strings.Builder
	b.WriteString(e.Hook.String())
	ancestors := slices.Contains(h.key.fields, event.FieldByID(event.FieldAncestors).Path)
	for i, v := range viewsFor(e, ancestors) {
		if i > 0 {
			b.WriteByte('\n')
		}
		for _, n := range h.key.nodes {
			writeKey(&b, n.leaf(&v).Value)
		}
	}
	if ancestors {
		for _, of := range e.Process.AncestorNames { // there may be more choices than views
			writeKey(&b, stringList(of).Value)
		}
	}
	return b.String(), true
}

// writeKey writes a value so that different ones give different text: strings
// with their length in front.
func writeKey(b *strings.Builder, v ast.Value) {
	switch v := v.(type) {
	case ast.String:
		b.WriteString(strconv.Itoa(len(v)))
		b.WriteByte('"')
		b.WriteString(string(v))
	case ast.Number:
		b.WriteString(string(v))
		b.WriteByte(',')
	case *ast.Array:
		b.WriteByte('[')
		for i := range v.Len() {
			writeKey(b, v.Elem(i).Value)
		}
		b.WriteByte(']')
	default:
		b.WriteString(v.String())
		b.WriteByte(';')
	}
}

func lookup(doc *ast.Term, path string) *ast.Term {
	for _, k := range strings.Split(path, ".") {
		doc = doc.Value.(ast.Object).Get(ast.StringTerm(k))
	}
	return doc
}

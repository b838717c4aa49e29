package lower

import (
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
)

// reads lists the input fields that a part reads, through helpers too: what
// user space must see to decide it. "input" stands for more than single
// fields, "time" for anything that is not a function of the document.
func (t *translator) reads(x any) []string {
	r := &reader{t: t, fields: map[string]bool{}, seen: map[*ast.Rule]bool{}}
	r.walk(x)
	if r.fields["input"] {
		for f := range r.fields {
			if f != "input" && f != "time" {
				delete(r.fields, f)
			}
		}
	}
	out := make([]string, 0, len(r.fields))
	for f := range r.fields {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// Reads lists the input fields that evaluating a rule may read, head and
// helpers included, also those that are constant on its hook: what must be in
// the document. all is true when that is the whole document.
func Reads(src Source, fields []event.Field, rule *ast.Rule) (paths []string, all bool) {
	t := &translator{lowerer: &lowerer{Source: src, target: Target{Fields: fields}}}
	r := &reader{t: t, fields: map[string]bool{}, seen: map[*ast.Rule]bool{}, constant: true}
	r.rule(rule)
	for f := range r.fields {
		if f != "time" {
			paths = append(paths, f)
		}
	}
	slices.Sort(paths)
	return paths, r.fields["input"]
}

type reader struct {
	t      *translator
	fields map[string]bool
	seen   map[*ast.Rule]bool
	// constant: also fields that are the same for every act of the hook
	constant bool
}

func (r *reader) walk(x any) {
	if nondeterministic(x) != "" {
		r.fields["time"] = true
	}
	vis := ast.NewGenericVisitor(func(n any) bool {
		switch n := n.(type) {
		case *ast.Term:
			if n.Value.Compare(ast.InputRootDocument.Value) == 0 {
				r.fields["input"] = true
			}
		case *ast.With:
			r.fields["input"] = true
		case ast.Ref:
			r.ref(n)
			for _, part := range n[1:] {
				r.walk(part)
			}
			return true
		}
		return false
	})
	vis.Walk(x)
}

func (r *reader) ref(ref ast.Ref) {
	switch {
	case len(ref) == 0:
	case ref[0].Value.Compare(ast.InputRootDocument.Value) == 0:
		r.input(ref)
	case ref.HasPrefix(ast.DefaultRootRef):
		for _, rule := range slices.Concat(r.t.support[ref.ConstantPrefix().String()],
			r.t.Compiler.GetRules(ref.ConstantPrefix()), r.t.Compiler.GetRulesDynamicWithOpts(ref, ast.RulesOptions{})) {
			r.rule(rule)
		}
	}
}

func (r *reader) rule(rule *ast.Rule) {
	for ; rule != nil; rule = rule.Else {
		if r.seen[rule] {
			return
		}
		r.seen[rule] = true
		r.walk(rule.Head)
		r.walk(rule.Body)
	}
}

// input adds the fields that a reference covers: one field, the field that it
// reads a part of, or all fields below it.
func (r *reader) input(ref ast.Ref) {
	n := 1
	for n < len(ref) {
		if _, ok := ref[n].Value.(ast.String); !ok {
			break
		}
		n++
	}
	path := dotted(ref[:n])
	if name, ok := strings.CutPrefix(path, "env."); ok && n == 3 && r.t.vars != nil && slices.Contains(event.Judged, r.t.hook) {
		r.t.vars[name] = true
	}
	found := false
	for _, f := range r.t.target.Fields {
		if f.Path == path || strings.HasPrefix(path, f.Path+".") || strings.HasPrefix(f.Path, path+".") && path != "" {
			found = true
			if r.constant || f.In(r.t.hook) && f.Path != "hook" {
				r.fields[f.Path] = true
			}
		}
	}
	if !found {
		r.fields["input"] = true
	}
}

// untrusted: all that a rule reads can be written by the process itself.
func (t *translator) untrusted(body ast.Body) bool {
	fields := t.reads(body)
	for _, name := range fields {
		if f, ok := t.target.field(name); !ok || f.Trust != event.TrustProcess {
			return false
		}
	}
	return len(fields) > 0
}

// nondeterministic returns the name of a built-in in x whose answer changes by
// itself, "" if there is none.
func nondeterministic(x any) string {
	name := ""
	check := func(v ast.Value) {
		if r, ok := v.(ast.Ref); ok {
			if bi, ok := ast.BuiltinMap[r.String()]; ok && bi.IsNondeterministic() {
				name = bi.Name
			}
		}
	}
	ast.NewGenericVisitor(func(n any) bool {
		switch n := n.(type) {
		case *ast.Expr:
			if o := n.Operator(); o != nil {
				check(o)
			}
		case *ast.Term:
			if c, ok := n.Value.(ast.Call); ok {
				check(c[0].Value)
			}
		}
		return false
	}).Walk(x)
	return name
}

func within(path string) string { return strings.TrimPrefix(path, "/") }

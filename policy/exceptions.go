package policy

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/util"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Exception is an entry for a list below data.exceptions.
type Exception struct {
	Data  string `json:"data"`  // the list: exceptions.shadow_read.exe
	Value any    `json:"value"` // what to add: a string or a number
	Field string `json:"field"` // the input field that it was taken from
}

// exceptionsRoot is where bundles keep what their rules let pass.
var exceptionsRoot = ast.Ref{ast.DefaultRootDocument, ast.StringTerm(exceptionsKey)}

// ofExceptions: the document lies below data.exceptions, or below the exceptions of a pack.
func ofExceptions(ref ast.Ref) bool {
	return ref.HasPrefix(exceptionsRoot) ||
		len(ref) > 4 && ref[1].Equal(ast.StringTerm("packs")) && ref[3].Equal(ast.StringTerm(exceptionsKey))
}

// PackOf is the pack that an exception's list belongs to; "" for the bundle's own.
func (x Exception) PackOf() string {
	if rest, ok := strings.CutPrefix(x.Data, "packs."); ok {
		name, _, _ := strings.Cut(rest, ".")
		return name
	}
	return ""
}

// Below adds the entry to a document that has the form of data.exceptions, or
// of the exceptions of its pack.
func (x Exception) Below(exceptions map[string]any) {
	keys := strings.Split(x.Data, ".")
	keys = keys[slices.Index(keys, exceptionsKey)+1:]
	at := exceptions
	for _, k := range keys[:len(keys)-1] {
		next, ok := at[k].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[k] = next
		}
		at = next
	}
	last := keys[len(keys)-1]
	list, _ := at[last].([]any)
	if !slices.Contains(list, x.Value) {
		at[last] = append(list, x.Value)
	}
}

// Has reports whether there is a rule with this id.
func (p *Policy) Has(h event.Hook, id string) bool {
	rules := p.hooks[h.Package()]
	return rules != nil && slices.ContainsFunc(rules.rules, func(r rule) bool { return r.Ref.ID == id })
}

// Exceptions tries what could be added to the lists below data.exceptions (or
// data.packs.NAME.exceptions) that a rule reads, and returns what keeps the rule from firing for this event
// without making another one fire. The narrowest list comes first. What is
// returned was tried, not guessed.
func (p *Policy) Exceptions(ctx context.Context, id string, e *event.Event) ([]Exception, error) {
	h, at := p.hooks[e.Hook.Package()], -1
	if h == nil {
		return nil, nil
	}
	for i := range h.rules {
		if h.rules[i].Ref.ID == id {
			at = i
		}
	}
	if at < 0 {
		return nil, nil
	}
	before, err := p.firedWith(ctx, e, nil)
	if err != nil || !before[at] {
		return nil, err
	}
	var out []Exception
	for _, list := range p.exceptionLists(h.rules[at].Rego) {
		for _, c := range candidates(e) {
			if !list.takes(c.Value) {
				continue
			}
			c.Data = list.name
			ok, err := p.silences(ctx, at, e, before, []override{list.with(c.Value)})
			if err != nil {
				return nil, err
			}
			if ok {
				out = append(out, c)
				break // the same list with another value says no more
			}
		}
	}
	return out, nil
}

// Silenced reports whether an entry keeps the rule from firing for an event.
func (p *Policy) Silenced(ctx context.Context, id string, e *event.Event, x Exception) (bool, error) {
	h := p.hooks[e.Hook.Package()]
	if h == nil {
		return true, nil
	}
	for i := range h.rules {
		if h.rules[i].Ref.ID != id {
			continue
		}
		for _, list := range p.exceptionLists(h.rules[i].Rego) {
			if list.name == x.Data && list.takes(x.Value) {
				fired, err := p.firedWith(ctx, e, []override{list.with(x.Value)})
				return !fired[i], err
			}
		}
		return false, nil
	}
	return true, nil
}

func (p *Policy) silences(ctx context.Context, at int, e *event.Event, before map[int]bool, with []override) (bool, error) {
	after, err := p.firedWith(ctx, e, with)
	if err != nil || after[at] {
		return false, err
	}
	for i := range after {
		if !before[i] {
			return false, nil
		}
	}
	return true, nil
}

// override is a base document with another value.
type override struct {
	ref   ast.Ref
	value *ast.Term
}

// firedWith evaluates each rule of the event's hook with some data replaced.
func (p *Policy) firedWith(ctx context.Context, e *event.Event, with []override) (map[int]bool, error) {
	cancel := topdown.NewCancel()
	defer context.AfterFunc(ctx, cancel.Cancel)()
	ev := &evaluation{p: p, h: p.hooks[e.Hook.Package()], hook: e.Hook, ctx: ctx, cancel: cancel}
	input := p.document.build(&views(e)[0], everyField)
	out := map[int]bool{}
	for i := range ev.h.rules {
		if !ev.judges(i) {
			continue
		}
		found := false
		err := ev.query(patched(ev.h.rules[i].body, with), input).Iter(ctx, func(topdown.QueryResult) error {
			found = true
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("evaluate rule %s: %w", ev.h.rules[i].Ref.ID, err)
		}
		if found {
			out[i] = true
		}
	}
	return out, nil
}

func patched(body ast.Body, with []override) ast.Body {
	if len(with) == 0 {
		return body
	}
	out := make(ast.Body, len(body))
	for i, x := range body {
		x = x.Copy()
		for _, w := range with {
			x.With = append(x.With, &ast.With{Target: ast.NewTerm(w.ref), Value: w.value})
		}
		out[i] = x
	}
	return out
}

// exceptionList is an array below data.exceptions or those of a pack.
type exceptionList struct {
	name  string
	ref   ast.Ref
	array *ast.Array
}

// takes reports whether the value is of the kind that the list has already.
func (l *exceptionList) takes(v any) bool {
	if l.array.Len() == 0 {
		return true
	}
	_, number := l.array.Elem(0).Value.(ast.Number)
	_, isNumber := v.(uint32)
	return number == isNumber
}

func (l *exceptionList) with(v any) override {
	t := ast.StringTerm(fmt.Sprint(v))
	if n, ok := v.(uint32); ok {
		t = ast.UIntNumberTerm(uint64(n))
	}
	return override{l.ref, ast.NewTerm(l.array.Append(t))}
}

// exceptionLists returns the arrays of exceptions that the rule and its helpers
// read, the least deep first.
func (p *Policy) exceptionLists(r *ast.Rule) []exceptionList {
	var out []exceptionList
	for _, ref := range baseRefs(p.src.Compiler, r) {
		if !ofExceptions(ref) {
			continue
		}
		path, err := storage.NewPathForRef(ref)
		if err != nil {
			continue
		}
		v, err := p.src.Store.Read(context.Background(), p.src.Txn, path)
		if err != nil {
			continue // the bundle has no such data
		}
		array, ok := v.(*ast.Array)
		name := strings.TrimPrefix(ref.String(), "data.")
		if ok && !slices.ContainsFunc(out, func(l exceptionList) bool { return l.name == name }) {
			out = append(out, exceptionList{name, ref, array})
		}
	}
	slices.SortStableFunc(out, func(a, b exceptionList) int { return len(a.ref) - len(b.ref) })
	return out
}

// candidates are the values of an act that lists of exceptions hold.
func candidates(e *event.Event) []Exception {
	exe := e.Process.Exe.Path
	out := []Exception{
		{Value: exe, Field: "process.exe.path"},
		{Value: ir.BaseName(exe), Field: "process.exe.name"},
	}
	if f := e.File; f != nil {
		out = append(out, Exception{Value: f.Path, Field: "file.path"}, Exception{Value: ir.BaseName(f.Path), Field: "file.name"},
			Exception{Value: f.Path[:len(f.Path)-len(ir.BaseName(f.Path))], Field: "file.path"})
	}
	out = append(out, Exception{Value: e.Process.Parent.Path, Field: "process.parent.exe.path"},
		Exception{Value: ir.BaseName(e.Process.Parent.Path), Field: "process.parent.exe.name"})
	for _, a := range e.Process.Ancestry[:min(3, len(e.Process.Ancestry))] {
		out = append(out, Exception{Value: a, Field: "process.ancestors"})
	}
	if e.Exec != nil && e.Exec.Script != "" {
		out = append(out, Exception{Value: e.Exec.Script, Field: "script"})
	}
	out = append(out, Exception{Value: e.Process.UID, Field: "process.uid"})
	if e.File != nil {
		out = append(out, Exception{Value: e.File.UID, Field: "file.uid"})
	}
	return slices.DeleteFunc(out, func(x Exception) bool { return x.Value == "" || x.Value == "/" })
}

// baseRefs lists the base documents that a rule reads, helpers included.
func baseRefs(c *ast.Compiler, r *ast.Rule) []ast.Ref {
	var out []ast.Ref
	seen := map[*ast.Rule]bool{}
	var visit func(r *ast.Rule)
	visit = func(r *ast.Rule) {
		if seen[r] {
			return
		}
		seen[r] = true
		ast.WalkRefs(r, func(ref ast.Ref) bool {
			if !ref.HasPrefix(ast.DefaultRootRef) || len(ref) == 1 {
				return false
			}
			helpers := c.GetRules(ref)
			for _, h := range helpers {
				visit(h)
			}
			if len(helpers) == 0 {
				out = append(out, ref.ConstantPrefix())
			}
			return false
		})
	}
	visit(r)
	return out
}

// ExceptionsDocument returns data.exceptions of the bundle with entries added,
// in the form of exceptions/data.json; nil if the bundle has none. Entries for
// packs are left out.
func (p *Policy) ExceptionsDocument(add []Exception) (map[string]any, error) {
	doc, err := p.object(storage.Path{exceptionsKey})
	for _, x := range add {
		if doc != nil && x.PackOf() == "" {
			x.Below(doc)
		}
	}
	return doc, err
}

// PackDocument returns what the file of a pack says (--pack NAME=FILE) with
// entries added to its exceptions. A list in it takes the place of the pack's,
// so it is whole: with what the pack or the bundle has in it already.
func (p *Policy) PackDocument(pack Pack, add []Exception) (map[string]any, error) {
	doc := map[string]any{}
	if pack.File != "" {
		b, err := os.ReadFile(pack.File)
		if err == nil {
			err = util.UnmarshalJSON(b, &doc)
		}
		if err != nil {
			return nil, fmt.Errorf("read data of the pack %s: %w", pack.Name, err)
		}
	}
	now, err := p.object(storage.Path{"packs", pack.Name, exceptionsKey})
	if err != nil {
		return nil, err
	}
	changed, _ := doc[exceptionsKey].(map[string]any)
	if changed == nil {
		changed = map[string]any{}
	}
	for _, x := range add {
		if x.PackOf() != pack.Name {
			continue
		}
		x.Below(now)
		key := strings.Split(x.Data, ".")[3]
		changed[key] = now[key]
	}
	if len(changed) > 0 {
		doc[exceptionsKey] = changed
	}
	return doc, nil
}

// object reads an object of the bundle's data; nil if it is not there.
func (p *Policy) object(path storage.Path) (map[string]any, error) {
	v, err := p.src.Store.Read(context.Background(), p.src.Txn, path)
	if storage.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %v: %w", path, err)
	}
	x, err := ast.JSON(v.(ast.Value))
	if err != nil {
		return nil, fmt.Errorf("convert %v: %w", path, err)
	}
	doc, ok := x.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("data%v is %T, an object is expected", path, x)
	}
	return doc, nil
}

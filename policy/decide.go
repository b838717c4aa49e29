package policy

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Decide asks OPA for the whole answer on one event: verdict, deciding rule,
// the other rules that fired, and the message of the deciding one. It does not
// set effect, source, mode and generation.
//
// An object may have several canonical names, of which Rego sees one at a time.
// Then a rule that was lowered whole fires if its lowered form does (a test
// holds under any name, a negated test only if it fails under every name), and
// a rule that was not fires if it does under any choice of names that the
// lowered form leaves open. An error is no answer: nobody may cache it as one.
//
// Of an act that the kernel left undecided, OPA is asked only about rules whose
// lowered form may hold for it: the kernel asked for no more.
func (p *Policy) Decide(ctx context.Context, e *event.Event) (event.Decision, error) {
	return p.decide(ctx, e, nil)
}

// decide is Decide with somebody who is told of each step; nil for nobody.
func (p *Policy) decide(ctx context.Context, e *event.Event, tracer topdown.QueryTracer) (event.Decision, error) {
	h := p.hooks[e.Hook.Package()]
	if h == nil {
		return p.allow(), nil
	}
	if !e.Decision.Undecided {
		return p.evaluate(ctx, h, e, nil, tracer)
	}
	return p.evaluate(ctx, h, e, p.open(e, everyRule), tracer)
}

// Hold asks OPA about an exec that waits at the gate: only those of the held
// rules that are wanted and whose lowered form leaves the act open.
func (p *Policy) Hold(ctx context.Context, e *event.Event, want func(*event.RuleRef) bool) (event.Decision, error) {
	h := p.hooks[e.Hook.Package()]
	if h == nil {
		return p.allow(), nil
	}
	return p.evaluate(ctx, h, e, p.open(e, func(r *ir.Rule) bool { return r.Hold && want(&r.Ref) }), nil)
}

func (p *Policy) allow() event.Decision {
	return event.Decision{Verdict: event.VerdictAllow, Revision: p.program.Revision}
}

// open lists the rules of a kind whose lowered form may hold for an event; without
// those that read a digest which nobody knows: OPA would find "" in its place.
func (p *Policy) open(e *event.Event, kind func(*ir.Rule) bool) []int {
	key := ir.KeyOf(e)
	rules := p.program.Rules[e.Hook.Package()]
	h := p.hooks[e.Hook.Package()]
	found := h.every
	if !key.Unresolved { // then tests of the path count as met
		found = h.index.find(make([]int, 0, 16), key)
	}
	out := make([]int, 0, len(found))
	for _, i := range found {
		if !kind(&rules[i]) {
			continue
		}
		if certain, maybe := rules[i].Holds(key); (certain || maybe) && !rules[i].Blind(key) {
			out = append(out, i)
		}
	}
	return out
}

// evaluate asks about some rules of a hook; nil means all.
func (p *Policy) evaluate(ctx context.Context, h *hookPolicy, e *event.Event, among []int, tracer topdown.QueryTracer) (event.Decision, error) {
	d := p.allow()
	if among != nil && len(among) == 0 {
		return d, nil
	}
	cancel := topdown.NewCancel()
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, cancel.Cancel)()
	}
	ev := &evaluation{p: p, h: h, hook: e.Hook, ctx: ctx, cancel: cancel, among: among, tracer: tracer}
	vs := viewsFor(e, ev.need().meets(ancestorsField))
	var fired []int
	var err error
	if len(vs) == 1 && (e.File == nil || !e.File.Unresolved) {
		fired, err = ev.one(&vs[0])
	} else {
		fired, err = ev.several(e, vs)
	}
	if err != nil {
		return event.Decision{}, fmt.Errorf("evaluate policy %s for %s: %w", p.program.Revision, e.Hook, err)
	}
	for _, i := range fired {
		r := &h.rules[i]
		if d.Rule == nil {
			ref := r.Ref
			d.Rule, d.Verdict, d.Message = &ref, r.Verdict, ev.message(i)
			continue
		}
		d.Others = append(d.Others, r.Ref)
	}
	return d, nil
}

// evaluation is the state of one Decide.
type evaluation struct {
	p      *Policy
	h      *hookPolicy
	hook   event.Hook
	ctx    context.Context
	cancel topdown.Cancel
	among  []int // the rules to ask about; nil: all
	heads  map[int]ast.Value
	tracer topdown.QueryTracer // nil: none
}

// need is what the document must hold for the rules.
func (ev *evaluation) need() fieldSet {
	if ev.among == nil {
		return ev.h.reads
	}
	var need fieldSet
	for _, i := range ev.among {
		need = need.union(ev.h.rules[i].reads)
	}
	return need
}

// one evaluates under one choice of names. Only when some rule fires is each
// rule tried on its own, which is what makes the attribution exact.
func (ev *evaluation) one(v *view) ([]int, error) {
	among := ev.among
	input := ev.p.document.build(v, ev.need())
	if among == nil {
		any, err := ev.any(input)
		if err != nil || !any {
			return nil, err
		}
		among = ev.h.every
	}
	var fired []int
	for _, i := range among {
		ok, err := ev.rule(i, input)
		if err != nil {
			return nil, err
		}
		if ok {
			fired = append(fired, i)
		}
	}
	return fired, nil
}

func (ev *evaluation) several(e *event.Event, vs []view) ([]int, error) {
	open := map[int]bool{} // rules that fire under some choice of names
	for i := range vs {
		fired, err := ev.one(&vs[i])
		if err != nil {
			return nil, err
		}
		for _, r := range fired {
			open[r] = true
		}
	}
	key := ir.KeyOf(e)
	among := ev.among
	if among == nil {
		among = ev.h.every
	}
	var out []int
	for _, i := range among {
		certain, maybe := ev.p.program.Rules[e.Hook.Package()][i].Holds(key)
		if certain || maybe && (open[i] || key.Unresolved && ev.failsClosed(e.Hook.Package(), i)) {
			out = append(out, i)
		}
	}
	return out, nil
}

// failsClosed: the path is not known whole, a deferred part may read it, and
// the author asked for deny when there is no verdict.
func (ev *evaluation) failsClosed(h event.Hook, i int) bool {
	return ev.p.program.Rules[h][i].Undecided == ir.UndecidedDeny
}

func (ev *evaluation) query(body ast.Body, input *ast.Term) *topdown.Query {
	q := topdown.NewQuery(body).WithCompiler(ev.p.src.Compiler).WithStore(ev.p.src.Store).WithTransaction(ev.p.src.Txn).
		WithInput(input).WithCancel(ev.cancel).WithIndexing(true).WithInterQueryBuiltinValueCache(ev.p.cache).
		WithMetrics(metrics.NoOp())
	if ev.tracer != nil {
		q = q.WithQueryTracer(ev.tracer)
	}
	return q
}

// any reports whether a rule set of the hook has a member.
func (ev *evaluation) any(input *ast.Term) (bool, error) {
	found := false
	err := ev.query(ev.h.any, input).Iter(ev.ctx, func(r topdown.QueryResult) error {
		for _, t := range r {
			if s, ok := t.Value.(ast.Set); ok && s.Len() > 0 {
				found = true
			}
		}
		return nil
	})
	return found, err
}

// rule reports whether one rule fires, and keeps its head. One that does not
// judge the act's hook (custom.hooks) does not fire, whatever its body says.
func (ev *evaluation) rule(i int, input *ast.Term) (bool, error) {
	if !ev.judges(i) {
		return false, nil
	}
	found := false
	err := ev.query(ev.h.rules[i].body, input).Iter(ev.ctx, func(r topdown.QueryResult) error {
		if t, ok := r[headVar]; ok && !found {
			if ev.heads == nil {
				ev.heads = map[int]ast.Value{}
			}
			if _, has := ev.heads[i]; !has {
				ev.heads[i] = t.Value
			}
		}
		found = true
		return nil
	})
	return found, err
}

func (ev *evaluation) judges(i int) bool {
	return ev.p.program.Rules[ev.hook.Package()][i].Judges(ev.hook)
}

// message is what the head says: a string, or the message of an object. A rule
// that holds only through several names of one object has its title.
func (ev *evaluation) message(i int) string {
	switch v := ev.heads[i].(type) {
	case ast.String:
		return string(v)
	case ast.Object:
		for _, k := range []string{"message", "msg"} {
			if t := v.Get(ast.StringTerm(k)); t != nil {
				if s, ok := t.Value.(ast.String); ok {
					return string(s)
				}
			}
		}
		return v.String()
	case nil:
		return ev.h.rules[i].Ref.Title
	default:
		return v.String()
	}
}

// Document returns the input document that rules see for an event, under its
// first names.
func (p *Policy) Document(e *event.Event) ast.Value {
	return p.document.build(&views(e)[0], everyField).Value
}

// InputJSON returns a function that makes the input document of an event,
// under its first names, as one line of JSON. It needs no bundle.
func InputJSON() func(*event.Event) ([]byte, error) {
	doc := documentTree(event.Fields)
	return func(e *event.Event) ([]byte, error) {
		v, err := ast.JSON(doc.build(&views(e)[0], everyField).Value)
		if err != nil {
			return nil, fmt.Errorf("convert document: %w", err)
		}
		return json.Marshal(v)
	}
}

// DocumentJSON returns the document as JSON, for people and for `opa eval`.
func (p *Policy) DocumentJSON(e *event.Event) ([]byte, error) {
	v, err := ast.JSON(p.Document(e))
	if err != nil {
		return nil, fmt.Errorf("convert document: %w", err)
	}
	return marshalIndent(v)
}

func everyRule(*ir.Rule) bool { return true }

package policy

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
	"example.com/bailiff/policy/lower"
)

// Trial is one act judged step by step.
type Trial struct {
	Revision string          `json:"revision"`
	Document json.RawMessage `json:"document"` // what the rules read, under the first names of its files
	Kernel   string          `json:"kernel"`   // what the kernel's tables say: allow, alert, deny, or undecided
	Verdict  event.Verdict   `json:"verdict"`  // what OPA says
	Message  string          `json:"message,omitempty"`
	Rules    []RuleTrial     `json:"rules"` // of the act's hook, in the order in which they win
}

// RuleTrial is one rule's part in it.
type RuleTrial struct {
	Rule    event.RuleRef `json:"rule"`
	Verdict event.Verdict `json:"verdict"`
	Audit   bool          `json:"never_blocks,omitempty"`
	Class   lower.Class   `json:"class"`
	Fires   bool          `json:"fires"`   // says OPA
	Decides bool          `json:"decides"` // it is the first that fires
	Kernel  string        `json:"kernel"`  // the lowered form: holds, fails or undecided
	Body    []StepTrial   `json:"body"`    // the conditions of the rule as they are written
	Clauses []ClauseTrial `json:"clauses"`
}

// StepTrial is one condition of a rule in Rego.
type StepTrial struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
	Held string `json:"held"` // yes, no, or not-reached
}

// ClauseTrial is one clause of the lowered form; all of its conditions must hold.
type ClauseTrial struct {
	Holds      bool        `json:"holds"`
	Asks       []string    `json:"asks,omitempty"` // when it holds OPA is asked, which reads these
	Conditions []CondTrial `json:"conditions"`
}

// CondTrial is one test of the kernel.
type CondTrial struct {
	Text  string `json:"text"`
	Holds bool   `json:"holds"`
	Value any    `json:"value"` // of the field, in the document
}

// Try judges an act as Decide does, and says of each condition whether it held.
func (p *Policy) Try(ctx context.Context, e *event.Event) (*Trial, error) {
	d, err := p.Decide(ctx, e)
	if err != nil {
		return nil, err
	}
	doc, err := p.DocumentJSON(e)
	if err != nil {
		return nil, err
	}
	out := &Trial{Revision: p.Revision(), Document: doc, Kernel: "allow", Verdict: d.Verdict, Message: d.Message, Rules: []RuleTrial{}}
	h := p.hooks[e.Hook.Package()]
	if h == nil {
		return out, nil
	}
	key := ir.KeyOf(e)
	r := p.program.Decide(e.Hook, key)
	if out.Kernel = r.Verdict.String(); slices.ContainsFunc(r.Undecided, func(i int) bool { return r.Rule < 0 || i < r.Rule }) {
		out.Kernel = "undecided"
	}
	input := p.document.build(&views(e)[0], everyField)
	for i := range h.rules {
		t, err := p.tryRule(ctx, h, e.Hook, i, input, &p.program.Rules[e.Hook.Package()][i], key)
		if err != nil {
			return nil, err
		}
		id := t.Rule.ID
		t.Decides = d.Rule != nil && d.Rule.ID == id
		t.Fires = t.Decides || slices.ContainsFunc(d.Others, func(o event.RuleRef) bool { return o.ID == id })
		out.Rules = append(out.Rules, t)
	}
	return out, nil
}

func (p *Policy) tryRule(ctx context.Context, h *hookPolicy, hook event.Hook, i int, input *ast.Term, lowered *ir.Rule, key *ir.Key) (RuleTrial, error) {
	r := &h.rules[i]
	t := RuleTrial{Rule: r.Ref, Verdict: r.Verdict, Audit: lowered.Audit, Class: lower.ClassOf(lowered), Kernel: "fails", Clauses: []ClauseTrial{}}
	certain, maybe := lowered.Holds(key)
	switch {
	case certain:
		t.Kernel = "holds"
	case maybe:
		t.Kernel = "undecided"
	}
	for j := range lowered.Clauses {
		c := &lowered.Clauses[j]
		ct := ClauseTrial{Holds: c.Holds(key), Asks: c.Reads, Conditions: []CondTrial{}}
		for k := range c.When {
			w := &c.When[k]
			v, err := ast.JSON(lookup(input, event.FieldByID(w.Field).Path).Value)
			if err != nil {
				return t, err
			}
			ct.Conditions = append(ct.Conditions, CondTrial{Text: w.String(), Holds: w.Holds(key), Value: v})
		}
		t.Clauses = append(t.Clauses, ct)
	}
	s := &steps{seen: map[*ast.Expr]*tried{}}
	cancel := topdown.NewCancel()
	defer context.AfterFunc(ctx, cancel.Cancel)()
	ev := &evaluation{p: p, h: h, hook: hook, ctx: ctx, cancel: cancel, tracer: s}
	if _, err := ev.rule(i, input); err != nil {
		return t, err
	}
	t.Body = s.of(r.Rego)
	return t, nil
}

// tried counts how often an expression was evaluated, and how often nothing
// made it true.
type tried struct{ evals, fails int }

// steps listens to the evaluation of one rule.
type steps struct{ seen map[*ast.Expr]*tried }

// Enabled implements topdown.QueryTracer.
func (s *steps) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (s *steps) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer.
func (s *steps) TraceEvent(e topdown.Event) {
	x, ok := e.Node.(*ast.Expr)
	if !ok || e.Op != topdown.EvalOp && e.Op != topdown.FailOp {
		return
	}
	n := s.seen[x]
	if n == nil {
		n = &tried{}
		s.seen[x] = n
	}
	if e.Op == topdown.EvalOp {
		n.evals++
	} else {
		n.fails++
	}
}

func (s *steps) held(x *ast.Expr) string {
	switch n := s.seen[x]; {
	case n == nil || n.evals == 0:
		return "not-reached"
	case n.fails >= n.evals:
		return "no"
	}
	return "yes"
}

// of lists the conditions of a rule as they are written, in that order. The
// compiler makes several expressions of one condition: it failed if one did.
func (s *steps) of(r *ast.Rule) []StepTrial {
	type step struct {
		StepTrial
		col, end int
	}
	var all []step
	for _, x := range r.Body {
		l := x.Location
		if l == nil || len(l.Text) == 0 || inside(l, r.Head.Location) {
			continue
		}
		text, _, more := strings.Cut(string(l.Text), "\n")
		st := step{StepTrial{File: within(l.File), Line: l.Row, Text: text, Held: s.held(x)}, l.Col, l.Col + len(text)}
		if more {
			st.Text, st.end = text+" ...", 1<<30
		}
		all = append(all, st)
	}
	slices.SortStableFunc(all, func(a, b step) int { // the widest of a place first
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.col, b.col), cmp.Compare(b.end, a.end))
	})
	out := []StepTrial{}
	end := 0
	for i, st := range all {
		n := len(out) - 1
		if i > 0 && st.File == all[i-1].File && st.Line == out[n].Line && st.col < end {
			if st.Held == "no" || out[n].Held == "yes" && st.Held == "not-reached" {
				out[n].Held = st.Held
			}
			continue
		}
		out, end = append(out, st.StepTrial), st.end
	}
	return out
}

// inside reports whether a place lies within the first line of another.
func inside(l, outer *ast.Location) bool {
	if outer == nil || l.File != outer.File || l.Row != outer.Row {
		return false
	}
	text, _, _ := strings.Cut(string(outer.Text), "\n")
	return l.Col >= outer.Col && l.Col < outer.Col+len(text)
}

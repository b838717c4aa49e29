package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
	"example.com/bailiff/policy/lower"
)

// ExplainedRule says where one rule is decided, and why.
type ExplainedRule struct {
	Hook      event.Hook       `json:"hook"`
	Acts      []event.Hook     `json:"acts"` // that it judges
	Verdict   event.Verdict    `json:"verdict"`
	Audit     bool             `json:"audit,omitempty"` // never blocks
	Kill      bool             `json:"kill,omitempty"`
	Held      bool             `json:"held,omitempty"` // an exec waits for the answer
	Undecided string           `json:"undecided"`      // allow or deny: what happens without a verdict
	Rule      event.RuleRef    `json:"rule"`
	Class     lower.Class      `json:"class"`
	Clauses   []string         `json:"clauses"`         // the lowered form, one clause each
	Reads     []string         `json:"reads,omitempty"` // input fields that OPA needs for the rest
	Reasons   []lower.Deferred `json:"reasons,omitempty"`
	Share     *Share           `json:"share,omitempty"` // of recorded acts, if any were counted
}

// Explain returns one entry for each rule, in the order in which they win.
func (p *Policy) Explain() []ExplainedRule {
	var out []ExplainedRule
	for _, h := range event.Judged {
		for i := range p.program.Rules[h] {
			out = append(out, p.explain(h, &p.program.Rules[h][i]))
		}
	}
	return out
}

func (p *Policy) explain(h event.Hook, r *ir.Rule) ExplainedRule {
	e := ExplainedRule{
		Hook: h, Verdict: r.Verdict, Audit: r.Audit, Kill: r.Kill, Held: r.Held(), Undecided: "allow",
		Rule: r.Ref, Class: lower.ClassOf(r), Clauses: []string{},
	}
	if r.Undecided == ir.UndecidedDeny {
		e.Undecided = "deny"
	}
	for _, o := range h.Hooks() {
		if len(r.Clauses) > 0 && r.Judges(o) {
			e.Acts = append(e.Acts, o)
		}
	}
	for i := range r.Clauses {
		e.Clauses = append(e.Clauses, r.Clauses[i].String())
		e.Reads = append(e.Reads, r.Clauses[i].Reads...)
	}
	slices.Sort(e.Reads)
	e.Reads = slices.Compact(e.Reads)
	for _, d := range p.deferred {
		if d.Rule.ID == r.Ref.ID {
			e.Reasons = append(e.Reasons, d)
		}
	}
	return e
}

// ExplainOptions chooses the form of Explain's output.
type ExplainOptions struct {
	JSON    bool    // one JSON array instead of text
	Clauses bool    // text: list each clause too
	Rule    string  // only rules with this id; "" means all
	Shares  *Shares // of recorded acts that reach OPA; nil: not counted
}

// Explain writes for each rule where it is decided, and for what the kernel
// does not decide the place, the reason and what to write instead.
func Explain(w io.Writer, p *Policy, o ExplainOptions) error {
	rules := p.Explain()
	if o.Shares != nil {
		o.Shares.Into(rules)
	}
	if o.Rule != "" {
		rules = slices.DeleteFunc(rules, func(e ExplainedRule) bool { return e.Rule.ID != o.Rule })
	}
	if o.JSON {
		b, err := marshalIndent(rules)
		if err != nil {
			return err
		}
		_, err = w.Write(append(b, '\n'))
		return err
	}
	var b strings.Builder
	for i := range rules {
		rules[i].format(&b, o.Clauses)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (e *ExplainedRule) format(b *strings.Builder, clauses bool) {
	fmt.Fprintf(b, "%-5s %s:%d  %s", e.Verdict, e.Rule.File, e.Rule.Line, e.Rule.ID)
	if e.Rule.Title != "" {
		fmt.Fprintf(b, "  %q", e.Rule.Title)
	}
	fmt.Fprintf(b, "\n      %s: %s  %s\n", e.acts(), strings.ToUpper(e.Class.String()), e.summary())
	if e.Share != nil {
		fmt.Fprintf(b, "        %s\n", e.Share)
	}
	if clauses {
		for _, c := range e.Clauses {
			fmt.Fprintf(b, "        | %s\n", c)
		}
	}
	for _, d := range e.Reasons {
		fmt.Fprintf(b, "        %s:%d  %s %s\n", d.File, d.Line, d.Code, d.Why)
		if d.Expr != "" {
			fmt.Fprintf(b, "          %s\n", d.Expr)
		}
		if d.Hint != "" {
			fmt.Fprintf(b, "          hint: %s\n", d.Hint)
		}
	}
}

// acts names what the rule judges: "exec, mmap".
func (e *ExplainedRule) acts() string {
	if len(e.Acts) == 0 {
		return e.Hook.String() // it can never hold
	}
	names := make([]string, len(e.Acts))
	for i, h := range e.Acts {
		names[i] = h.String()
	}
	return strings.Join(names, ", ")
}

// summary says in one line what the class means for this rule.
func (e *ExplainedRule) summary() string {
	what := "before the act"
	if e.Audit || e.Verdict == event.VerdictAlert {
		what = "before the act, never blocks"
	}
	switch e.Class {
	case lower.ClassKernel:
		return fmt.Sprintf("decided %s; %s", what, count(len(e.Clauses), "clause"))
	case lower.ClassCommit:
		what := "the new image is killed before its first instruction"
		if e.Audit || e.Verdict == event.VerdictAlert {
			what = "never blocks"
		}
		return fmt.Sprintf("decided by the kernel when arguments and environment are in place; %s; %s", what, count(len(e.Clauses), "clause"))
	case lower.ClassPrefiltered:
		return fmt.Sprintf("the kernel allows all else; what is left is asked of OPA, which reads %s; undecided: %s",
			strings.Join(e.Reads, ", "), e.Undecided)
	case lower.ClassHeld:
		return fmt.Sprintf("the kernel allows all else; for what is left the exec waits until OPA has answered, which reads %s; without an answer in time: %s",
			strings.Join(e.Reads, ", "), e.Undecided)
	case lower.ClassFull:
		return fmt.Sprintf("no part runs in the kernel: every %s is asked of OPA; undecided: %s", e.Hook, e.Undecided)
	case lower.ClassNever:
		return "can never hold"
	}
	return "holds for every " + e.Hook.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// marshalIndent is json.MarshalIndent without escaping <, > and &.
func marshalIndent(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

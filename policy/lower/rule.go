// Package lower turns compiled Rego rules into ir.Program: rule tables that a
// kernel can run. Each rule body is partially evaluated on its own with the
// whole input unknown; what is left is translated to a three-valued formula and
// that to clauses. Whatever does not fit becomes Unknown, never a guess: the
// clause is then flagged Maybe and a Deferred says why, where, and what to
// write instead.
package lower

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Source is a compiled bundle: what partial evaluation reads.
type Source struct {
	Compiler *ast.Compiler
	Store    storage.Store
	Txn      storage.Transaction // open for reading
	// Identities are what data.bailiff.identities says, sorted by name.
	Identities []ir.Identity
	// Shells are what data.bailiff.shells says, sorted.
	Shells []string
}

// Rule is one Rego rule to lower, with what its annotations say.
type Rule struct {
	Rego      *ast.Rule // compiled
	Hook      event.Hook
	Ref       event.RuleRef
	Verdict   event.Verdict // deny or alert
	Audit     bool
	Kill      bool
	Undecided ir.Undecided
	Hold      bool         // an exec waits at the gate for the answer; Undecided is what happens without one
	Always    bool         // the author says that it may hold for every act
	Hooks     []event.Hook // that it judges; none: see judged
}

// Class says how much of a rule the kernel decides.
type Class uint8

const (
	ClassKernel      Class = iota // all of it
	ClassPrefiltered              // the kernel excludes most acts, OPA decides the rest
	ClassFull                     // every act needs OPA
	ClassNever                    // it can never hold
	ClassAlways                   // it holds for every act
	ClassHeld                     // the kernel excludes what it can; for the rest the act waits for OPA
	ClassCommit                   // all of it, some only when the new image is in place, before its first instruction
)

var classNames = []string{"kernel", "prefiltered", "full", "never", "always", "held", "commit"}

// String returns the class as `bailiff explain` writes it.
func (c Class) String() string { return classNames[c] }

// MarshalText makes JSON hold the name.
func (c Class) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// ClassOf says how much of a lowered rule the kernel decides.
func ClassOf(r *ir.Rule) Class {
	if len(r.Clauses) == 0 {
		return ClassNever
	}
	class := ClassKernel
	for i := range r.Clauses {
		c := &r.Clauses[i]
		// Which hook it is says nothing about the act.
		every := !slices.ContainsFunc(c.When, func(w ir.Cond) bool { return w.Field != event.FieldHook })
		switch {
		case every && !c.Maybe:
			return ClassAlways
		case every:
			class = ClassFull
		case c.Maybe && class != ClassFull:
			class = ClassPrefiltered
		case c.AtCommit() && class == ClassKernel:
			class = ClassCommit
		}
	}
	if r.Held() && class != ClassKernel && class != ClassCommit {
		return ClassHeld
	}
	return class
}

// Severity says what a diagnostic does to the load of a bundle.
type Severity uint8

const (
	Info  Severity = iota // something is decided in user space
	Warn                  // probably a mistake
	Error                 // the bundle is refused
)

var severityNames = []string{"info", "warning", "error"}

// String returns "info", "warning" or "error".
func (s Severity) String() string { return severityNames[s] }

// MarshalText makes JSON hold the name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Deferred is one diagnostic: a part of a rule that the kernel does not decide,
// or that looks wrong.
type Deferred struct {
	Code     Code          `json:"code"`
	Severity Severity      `json:"severity"`
	Rule     event.RuleRef `json:"rule"`
	File     string        `json:"file"` // of the part, within the bundle
	Line     int           `json:"line"`
	Col      int           `json:"col,omitempty"`
	Expr     string        `json:"expr,omitempty"`   // the part, as partial evaluation left it
	Why      string        `json:"why"`              // one sentence
	Hint     string        `json:"hint,omitempty"`   // what to write instead
	Fields   []string      `json:"fields,omitempty"` // input fields that user space reads for it
	Class    Class         `json:"class"`            // of the whole rule
}

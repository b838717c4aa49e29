// Package policy loads, compiles, lowers and evaluates bundles of Rego rules.
// It is the only place, with package lower, that knows OPA. A *Policy is one
// immutable revision; it answers for the rules that the kernel cannot decide,
// and writes the message of those that it did decide.
package policy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/lower"
)

// Options bounds a load. The zero value is usable.
type Options struct {
	Limits Limits
	Keys   *Keys         // whose signature a bundle must have; nil: none is needed, none is looked at
	Packs  []Pack        // rules that are added to the bundle
	Target *lower.Target // what the backend can run; nil means lower.DefaultTarget
	// NoDigests is asked, of each of event.OnlyAtGate that rules mention, whether the
	// kernel does not know it, whatever Target says; nil: nobody is.
	NoDigests func(field string) bool
}

// Report is what a successful load has to say.
type Report struct {
	Revision string        `json:"revision"`
	Serial   uint64        `json:"serial,omitempty"` // metadata.bailiff.serial of the manifest
	KeyID    string        `json:"key_id,omitempty"` // of the key whose signature was verified
	Rules    int           `json:"rules"`
	Lowered  int           `json:"lowered"`  // rules that the kernel decides alone
	Warnings Errors        `json:"warnings"` // probable mistakes that do not stop the bundle
	Compile  time.Duration `json:"compile_ns"`
	Lower    time.Duration `json:"lower_ns"`
}

// target is what the rules of a bundle are lowered for.
func (a *Archive) target() lower.Target {
	t := lower.DefaultTarget()
	if a.options.Target != nil {
		t = *a.options.Target
	}
	for _, f := range event.OnlyAtGate {
		if word := f[strings.LastIndexByte(f, '.')+1:]; a.options.NoDigests != nil && t.Has(f) && a.files.mention(word) && a.options.NoDigests(f) {
			t = t.Without(f)
		}
	}
	return t
}

// Compile compiles and lowers the bundle. It is refused whole: the error is an
// Errors, or the context's. OPA's compiler cannot be interrupted; what bounds
// it is that rules are few and small (Limits). Lowering ends with the context.
func (a *Archive) Compile(ctx context.Context) (*Policy, *Report, error) {
	return a.CompileAfter(ctx, alone{})
}

// CompileAfter is Compile one step behind another process.
func (a *Archive) CompileAfter(ctx context.Context, ahead Ahead) (*Policy, *Report, error) {
	start := time.Now()
	if a.Delta {
		return nil, nil, Errors{{Code: CodeDelta, File: patchFile, Why: "this is a delta: it changes another bundle and is none by itself", Hint: hintSnapshot}}
	}
	if _, err := ahead.Did(ctx, StepParse); err != nil {
		return nil, nil, err
	}
	f := a.files
	b, err := f.read()
	if err != nil {
		return nil, nil, err
	}
	packs, err := f.addPacks(b, a.options.Packs, false)
	if err != nil {
		return nil, nil, err
	}
	checked, err := ahead.Did(ctx, StepCompile)
	if err != nil {
		return nil, nil, err
	}
	compiler, store, txn, err := a.compile(ctx, b, !checked)
	if err != nil {
		return nil, nil, err
	}
	if err := checkCosts(compiler, f); err != nil {
		return nil, nil, err
	}
	rules, warnings, err := collect(compiler, f)
	if err != nil {
		return nil, nil, err
	}
	compiled := time.Now()
	ids, err := f.identities(ctx, store, txn)
	if err != nil {
		return nil, nil, err
	}
	shells, err := f.shells(ctx, store, txn)
	if err != nil {
		return nil, nil, err
	}
	src := lower.Source{Compiler: compiler, Store: store, Txn: txn, Identities: ids, Shells: shells}
	l, err := a.lower(ctx, ahead, src, rules, a.Revision+packs)
	if err != nil {
		return nil, nil, err
	}
	program, deferred := l.Program, l.Deferred
	if errs := f.diagnostics(deferred, lower.Error); len(errs) > 0 {
		return nil, nil, errs
	}
	p, err := newPolicy(ctx, src, rules, program, deferred)
	if err != nil {
		return nil, nil, err
	}
	r := &Report{
		Revision: program.Revision, Serial: a.Serial, KeyID: a.KeyID, Rules: len(rules),
		Warnings: append(warnings, f.diagnostics(deferred, lower.Warn)...),
		Compile:  compiled.Sub(start), Lower: time.Since(compiled),
	}
	for _, e := range p.Explain() {
		if e.Class == lower.ClassKernel || e.Class == lower.ClassCommit || e.Class == lower.ClassNever {
			r.Lowered++
		}
	}
	return p, r, nil
}

// compile type-checks the modules against the input schema and puts the data
// into a store that holds AST values, so that reads convert nothing. The
// compiler that it returns knows no types: see untyped.go.
func (a *Archive) compile(ctx context.Context, b *bundle.Bundle, check bool) (*ast.Compiler, storage.Store, storage.Transaction, error) {
	f := a.files
	data, err := dataObject(b.Data)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("convert data: %w", err)
	}
	b.Data = nil
	store := inmem.NewFromASTObject(data)
	if len(a.patches) > 0 {
		if err := a.apply(ctx, store, *b.Manifest.Roots); err != nil {
			return nil, nil, nil, err
		}
	}
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open store: %w", err)
	}
	modules := make(map[string]*ast.Module, len(b.Modules))
	for _, m := range b.Modules {
		modules[m.Path] = m.Parsed
	}
	// Both read the modules and make copies of their own.
	checked := make(chan ast.Errors, 1)
	go func() {
		if !check {
			checked <- nil
			return
		}
		schemas := ast.NewSchemaSet()
		schemas.Put(ast.SchemaRootRef, Schema())
		schemas.Put(ast.SchemaRootRef.Append(ast.StringTerm("input")), Schema()) // what annotations call it
		checker := ast.NewCompiler().WithStrict(true).WithCapabilities(Capabilities()).WithSchemas(schemas).
			WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn)).SetErrorLimit(20).
			WithSkipStages(ast.StageBuildRuleIndices, ast.StageBuildComprehensionIndices, ast.StageBuildRequiredCapabilities)
		checker.Compile(modules)
		checked <- checker.Errors
	}()
	c := ast.NewCompiler()
	errs := compileUntyped(c, modules)
	if first := <-checked; len(first) > 0 {
		errs = first
	}
	if len(errs) > 0 {
		return nil, nil, nil, f.errors(errs)
	}
	return c, store, txn, nil
}

// diagnostics turns those of one severity into errors with their source line.
func (f *files) diagnostics(deferred []lower.Deferred, s lower.Severity) Errors {
	var out Errors
	for _, d := range deferred {
		if d.Severity == s {
			e := &Error{
				Code: string(d.Code), File: d.File, Line: d.Line, Col: d.Col,
				Why: d.Why, Hint: d.Hint, Source: f.line(d.File, d.Line),
			}
			e.Width = width(e.Source, e.Col, d.Expr)
			out = append(out, e)
		}
	}
	return out.sorted()
}

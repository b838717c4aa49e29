// Package policy loads, compiles, lowers and evaluates bundles of Rego rules.
// It is the only place, with package lower, that knows OPA. A *Policy is one
// immutable revision; it answers for the rules that the kernel cannot decide,
// and writes the message of those that it did decide.
package policy

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"example.com/bailiff/policy/lower"
)

// Options bounds a load. The zero value is usable.
type Options struct {
	MaxFileBytes int64         // of one file in the bundle; 0 means 64 MiB
	Target       *lower.Target // what the backend can run; nil means lower.DefaultTarget
}

// Report is what a successful load has to say.
type Report struct {
	Revision string        `json:"revision"`
	Rules    int           `json:"rules"`
	Lowered  int           `json:"lowered"`  // rules that the kernel decides alone
	Warnings Errors        `json:"warnings"` // probable mistakes that do not stop the bundle
	Compile  time.Duration `json:"compile_ns"`
	Lower    time.Duration `json:"lower_ns"`
}

// Load reads a bundle from a directory or a tar.gz file, compiles and lowers
// it. A bundle that is not right is refused whole: the error is an Errors.
func Load(ctx context.Context, path string, o Options) (*Policy, *Report, error) {
	f, b, err := readPath(path, o.fileLimit())
	if err != nil {
		return nil, nil, err
	}
	return load(ctx, f, b, o)
}

// LoadFS is Load for a file system, such as the embedded default bundle.
func LoadFS(ctx context.Context, fsys fs.FS, o Options) (*Policy, *Report, error) {
	f, b, err := readFS(fsys, o.fileLimit())
	if err != nil {
		return nil, nil, err
	}
	return load(ctx, f, b, o)
}

func (o Options) fileLimit() int64 {
	if o.MaxFileBytes > 0 {
		return o.MaxFileBytes
	}
	return 64 << 20
}

func (o Options) target() lower.Target {
	if o.Target != nil {
		return *o.Target
	}
	return lower.DefaultTarget()
}

func load(ctx context.Context, f *files, b *bundle.Bundle, o Options) (*Policy, *Report, error) {
	start := time.Now()
	compiler, store, txn, err := compile(ctx, f, b)
	if err != nil {
		return nil, nil, err
	}
	rules, warnings, err := collect(compiler, f)
	if err != nil {
		return nil, nil, err
	}
	compiled := time.Now()
	src := lower.Source{Compiler: compiler, Store: store, Txn: txn}
	program, deferred, err := lower.Lower(ctx, src, rules, o.target())
	if err != nil {
		return nil, nil, fmt.Errorf("lower bundle: %w", err)
	}
	if errs := f.diagnostics(deferred, lower.Error); len(errs) > 0 {
		return nil, nil, errs
	}
	program.Revision = b.Manifest.Revision
	if program.Revision == "" {
		program.Revision = f.revision()
	}
	p, err := newPolicy(ctx, src, rules, program, deferred)
	if err != nil {
		return nil, nil, err
	}
	r := &Report{
		Revision: program.Revision, Rules: len(rules),
		Warnings: append(warnings, f.diagnostics(deferred, lower.Warn)...),
		Compile:  compiled.Sub(start), Lower: time.Since(compiled),
	}
	for _, e := range p.Explain() {
		if e.Class == lower.ClassKernel || e.Class == lower.ClassNever {
			r.Lowered++
		}
	}
	return p, r, nil
}

// compile type-checks the modules against the input schema and puts the data
// into a store that holds AST values, so that reads convert nothing. The
// compiler that it returns knows no types: see untyped.go.
func compile(ctx context.Context, f *files, b *bundle.Bundle) (*ast.Compiler, storage.Store, storage.Transaction, error) {
	store := inmem.NewFromObjectWithOpts(b.Data, inmem.OptReturnASTValuesOnRead(true), inmem.OptRoundTripOnWrite(false))
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open store: %w", err)
	}
	modules := make(map[string]*ast.Module, len(b.Modules))
	for _, m := range b.Modules {
		modules[m.Path] = m.Parsed
	}
	schemas := ast.NewSchemaSet()
	schemas.Put(ast.SchemaRootRef, Schema())
	checker := ast.NewCompiler().WithStrict(true).WithCapabilities(Capabilities()).WithSchemas(schemas).
		WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn)).SetErrorLimit(20)
	if checker.Compile(modules); checker.Failed() {
		return nil, nil, nil, f.errors(checker.Errors)
	}
	c := ast.NewCompiler()
	if errs := compileUntyped(c, modules); len(errs) > 0 {
		return nil, nil, nil, f.errors(errs)
	}
	return c, store, txn, nil
}

// diagnostics turns those of one severity into errors with their source line.
func (f *files) diagnostics(deferred []lower.Deferred, s lower.Severity) Errors {
	var out Errors
	for _, d := range deferred {
		if d.Severity == s {
			out = append(out, &Error{
				Code: string(d.Code), File: d.File, Line: d.Line, Col: d.Col,
				Why: d.Why, Hint: d.Hint, Source: f.line(d.File, d.Line),
			})
		}
	}
	return out.sorted()
}

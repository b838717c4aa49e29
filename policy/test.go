package policy

import (
	"context"
	"fmt"
	"io/fs"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
)

// TestResult is the outcome of one Rego test of a bundle.
type TestResult struct {
	Package string `json:"package"`
	Name    string `json:"name"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Pass    bool   `json:"pass"`
	Skip    bool   `json:"skip,omitempty"` // its name begins with todo_
	Error   string `json:"error,omitempty"`
}

// TestFS runs the Rego tests of a bundle, as `opa test` would, but with the
// built-ins that policies have here.
func TestFS(ctx context.Context, fsys fs.FS, o Options) ([]TestResult, error) {
	b, err := bundle.NewCustomReader(bundle.NewFSLoaderWithRoot(fsys, ".").WithSizeLimitBytes(o.Limits.withDefaults().FileBytes)).
		WithProcessAnnotations(true).WithSkipBundleVerification(true).WithRegoVersion(ast.RegoV1).Read()
	if err != nil {
		return nil, fmt.Errorf("read bundle: %w", err)
	}
	modules := make(map[string]*ast.Module, len(b.Modules))
	for _, m := range b.Modules {
		modules[within(m.Path)] = m.Parsed
	}
	store := inmem.NewFromObject(b.Data)
	c := ast.NewCompiler().WithStrict(true).WithCapabilities(Capabilities())
	results, err := tester.NewRunner().SetCompiler(c).SetStore(store).SetModules(modules).RunTests(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("run tests: %w", err)
	}
	var out []TestResult
	for r := range results {
		t := TestResult{Package: r.Package, Name: r.Name, Pass: r.Pass(), Skip: r.Skip}
		if r.Location != nil {
			t.File, t.Line = within(r.Location.File), r.Location.Row
		}
		if r.Error != nil {
			t.Error = r.Error.Error()
		}
		out = append(out, t)
	}
	return out, nil
}

package policy

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
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
	Output  string `json:"output,omitempty"` // what it printed
}

// TestOptions says what to test.
type TestOptions struct {
	Options
	Run string // regular expression: only tests and acts whose name it matches; "" means all
}

// TestReport is the outcome of all tests of a bundle.
type TestReport struct {
	Revision  string           `json:"revision"`
	Tests     []TestResult     `json:"tests"`
	Scenarios []ScenarioResult `json:"scenarios"`
	Coverage  Coverage         `json:"coverage"`
}

// Failed counts what did not pass.
func (r *TestReport) Failed() int {
	n := 0
	for _, t := range r.Tests {
		if !t.Pass && !t.Skip {
			n++
		}
	}
	for _, s := range r.Scenarios {
		if !s.Pass {
			n++
		}
	}
	return n
}

// Test loads a bundle from a directory or a tar.gz file as the agent would,
// runs its Rego tests (files that end in _test.rego, as `opa test` runs them,
// but with the built-ins that policies have here) and its scenarios (files that
// end in _test.yaml), and says what of it they reach. The tests of packs are
// among them: they run with the data that the packs have here.
func Test(ctx context.Context, path string, o TestOptions) (*TestReport, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, readError("open bundle", err)
	}
	if info.IsDir() {
		c, err := walkDir(path, o.Limits, false)
		return test(ctx, c, err, o)
	}
	fh, err := os.Open(path)
	if err != nil {
		return nil, readError("open bundle", err)
	}
	defer fh.Close()
	c, err := unpack(fh, o.Limits)
	return test(ctx, c, err, o)
}

// TestFS is Test for a file system, such as the embedded rules.
func TestFS(ctx context.Context, fsys fs.FS, o TestOptions) (*TestReport, error) {
	c, err := walkFS(fsys, o.Limits, false)
	return test(ctx, c, err, o)
}

func test(ctx context.Context, c *contents, err error, o TestOptions) (*TestReport, error) {
	a, err := newArchive(c, err, o.Options)
	if err != nil {
		return nil, err
	}
	p, _, err := a.Compile(ctx)
	if err != nil {
		return nil, err
	}
	defer p.Close(context.WithoutCancel(ctx))
	h := newHits()
	r := &TestReport{Revision: p.Revision(), Tests: []TestResult{}, Scenarios: []ScenarioResult{}}
	whole := allFiles(c)
	modules, err := whole.regoTests(ctx, r, h, &o)
	if err != nil {
		return nil, err
	}
	if err := whole.scenarios(ctx, p, r, h, o.Run); err != nil {
		return nil, err
	}
	r.Coverage = h.report(p, modules)
	return r, nil
}

// regoTests runs the tests and returns the modules that are not tests.
func (f *files) regoTests(ctx context.Context, r *TestReport, h *hits, o *TestOptions) (map[string]*ast.Module, error) {
	b, err := f.read()
	if err != nil {
		return nil, err
	}
	if _, err := f.addPacks(b, o.Packs, true); err != nil {
		return nil, err
	}
	modules, tested := map[string]*ast.Module{}, map[string]*ast.Module{}
	for _, m := range b.Modules {
		modules[m.Path] = m.Parsed
		if !strings.HasSuffix(m.Path, "_test.rego") {
			tested[m.Path] = m.Parsed
		}
	}
	// OPA evaluates each test once more for each of these kinds, to say why a
	// line was not reached: rules that its index leaves out count as reached here.
	runner := tester.NewRunner().SetCompiler(ast.NewCompiler().WithStrict(true).WithCapabilities(Capabilities()).WithEnablePrintStatements(true)).
		SetStore(inmem.NewFromObject(b.Data)).SetModules(modules).SetCoverageQueryTracer(h).SetCoverageRuns([]cover.Kind{}).
		CapturePrintOutput(true).Filter(o.Run)
	results, err := runner.RunTests(ctx, nil)
	if list, ok := err.(ast.Errors); ok {
		return nil, f.errors(list)
	}
	if err != nil {
		return nil, fmt.Errorf("run tests: %w", err)
	}
	for res := range results {
		t := TestResult{Package: res.Package, Name: res.Name, Pass: res.Pass(), Skip: res.Skip, Output: string(res.Output)}
		if res.Location != nil {
			t.File, t.Line = within(res.Location.File), res.Location.Row
		}
		if res.Error != nil {
			t.Error = res.Error.Error()
		}
		r.Tests = append(r.Tests, t)
	}
	return tested, nil
}

package policy

import (
	"context"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/topdown"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/rules"
)

// shippedRules is the baseline or one pack, with its tests.
type shippedRules struct {
	pack  string // "": the baseline
	dir   string // where its files lie in the repository
	p     *Policy
	rules []shippedRule // by id
	tests []ranTest
}

type shippedRule struct {
	*rule
	hook event.Hook
	e    ExplainedRule
}

// ranTest is one Rego test, and what it made fire.
type ranTest struct {
	file, name string
	hits       map[string]*ruleHits // by place of a rule
}

// shipped loads all rules that ship.
func shipped(t *testing.T) []*shippedRules {
	t.Helper()
	out := []*shippedRules{loadShipped(t, rules.FS, "")}
	for _, name := range rules.Packs() {
		fsys, err := rules.Pack(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, loadShipped(t, fsys, name))
	}
	return out
}

func loadShipped(t *testing.T, fsys fs.FS, pack string) *shippedRules {
	t.Helper()
	s := &shippedRules{pack: pack, dir: path.Join("rules", "baseline")}
	c, err := walkFS(fsys, Limits{}, false)
	if err != nil {
		t.Fatal(err)
	}
	if pack != "" {
		s.dir = "rules" // the files have the path packs/NAME in a bundle
		for i := range c.entries {
			c.entries[i].path = path.Join("packs", pack, c.entries[i].path)
		}
	}
	a, err := newArchive(c, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if s.p, _, err = a.Compile(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, h := range event.Judged {
		if hp := s.p.hooks[h]; hp != nil {
			for i := range hp.rules {
				s.rules = append(s.rules, shippedRule{&hp.rules[i], h, s.p.explain(h, &s.p.program.Rules[h][i])})
			}
		}
	}
	slices.SortStableFunc(s.rules, func(x, y shippedRule) int { return strings.Compare(x.e.Rule.ID, y.e.Rule.ID) })
	s.runTests(t, allFiles(c))
	return s
}

// runTests runs each Rego test by itself, to see what it is about.
func (s *shippedRules) runTests(t *testing.T, f *files) {
	t.Helper()
	b, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string]*ast.Module{}
	for _, m := range b.Modules {
		modules[m.Path] = m.Parsed
	}
	compiler := ast.NewCompiler().WithCapabilities(Capabilities())
	if compiler.Compile(modules); compiler.Failed() {
		t.Fatal(compiler.Errors)
	}
	store := inmem.NewFromObject(b.Data)
	txn := storage.NewTransactionOrDie(context.Background(), store)
	defer store.Abort(context.Background(), txn)
	for _, file := range sortedKeys(modules) {
		for _, r := range modules[file].Rules {
			name := string(r.Head.Name)
			if !strings.HasPrefix(name, "test_") {
				continue
			}
			h := newHits()
			q := topdown.NewQuery(ast.NewBody(ast.NewExpr(ast.NewTerm(r.Ref())))).WithCompiler(compiler).WithStore(store).WithTransaction(txn).WithQueryTracer(h)
			if _, err := q.Run(context.Background()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			s.tests = append(s.tests, ranTest{within(file), name, h.rules})
		}
	}
}

// comparedWith lists the input fields that a rule, or a helper of it, compares
// with what is in a list.
func comparedWith(c *ast.Compiler, r *ast.Rule, list ast.Ref) []string {
	var out []string
	eachBody(c, r, map[*ast.Rule]bool{}, func(body ast.Body) {
		of := map[ast.Var]string{} // variables that are an element of the list ("") or of an input field
		mentions := func(x *ast.Expr) (fields []string, inList bool) {
			ast.WalkTerms(x, func(t *ast.Term) bool {
				switch v := t.Value.(type) {
				case ast.Ref:
					if v.HasPrefix(list) {
						inList = true
					}
					if v.HasPrefix(ast.InputRootRef) {
						fields = append(fields, v.ConstantPrefix().String())
					}
				case ast.Var:
					if field, ok := of[v]; ok && field == "" {
						inList = true
					} else if ok {
						fields = append(fields, field)
					}
				}
				return false
			})
			return fields, inList
		}
		for range 2 { // names first, their use then
			for _, x := range body {
				fields, inList := mentions(x)
				if x.IsEquality() {
					for _, op := range x.Operands() {
						if v, ok := op.Value.(ast.Var); ok && inList {
							of[v] = ""
						} else if ok && len(fields) > 0 {
							of[v] = fields[0]
						}
					}
				}
				if inList {
					out = append(out, fields...)
				}
			}
		}
	})
	slices.Sort(out)
	return slices.Compact(out)
}

// eachBody calls f for the body of a rule and of all its helpers.
func eachBody(c *ast.Compiler, r *ast.Rule, seen map[*ast.Rule]bool, f func(ast.Body)) {
	if seen[r] {
		return
	}
	seen[r] = true
	f(r.Body)
	ast.WalkRefs(r, func(ref ast.Ref) bool {
		if ref.HasPrefix(ast.DefaultRootRef) && len(ref) > 1 {
			for _, h := range c.GetRules(ref) {
				eachBody(c, h, seen, f)
			}
		}
		return false
	})
}

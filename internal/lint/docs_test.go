package lint

import (
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestThreatModelIsWhole: every counter of something that failed open or closed
// or was lost has its place in docs/threat-model.md.
func TestThreatModelIsWhole(t *testing.T) {
	page := readFile(t, "docs/threat-model.md")
	inGo := regexp.MustCompile(`^(fail_open|fail_closed|drop)_[a-z_]*[a-z]$`)
	names := map[string]string{}
	for _, f := range goFiles(t) {
		if f.isTest() || f.pkg() != "enforcer" && f.pkg() != "bpf" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			s, err := strconv.Unquote(lit.Value)
			if err == nil && inGo.MatchString(s) {
				names[s] = f.at(lit)
			}
			return true
		})
	}
	if len(names) < 8 {
		t.Errorf("only %d counters found: the test looks in the wrong place", len(names))
	}
	for name, where := range names {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("%s: docs/threat-model.md does not say when %s counts", where, name)
		}
	}
}

// TestDependenciesAreJustified: a module that our code imports has a line in
// docs/dependencies.md, and a module that has a line is in go.mod.
func TestDependenciesAreJustified(t *testing.T) {
	page, mod := readFile(t, "docs/dependencies.md"), readFile(t, "go.mod")
	var listed []string
	for _, m := range regexp.MustCompile(`(?m)^\| (\S+\.\S+/\S+) \|`).FindAllStringSubmatch(page, -1) {
		listed = append(listed, m[1])
		if !strings.Contains(mod, m[1]+" v") {
			t.Errorf("docs/dependencies.md: %s is not in go.mod", m[1])
		}
	}
	for _, f := range goFiles(t) {
		for _, imp := range f.ast.Imports {
			p, err := strconv.Unquote(imp.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			first, _, _ := strings.Cut(p, "/")
			if !strings.Contains(first, ".") || strings.HasPrefix(p, module) {
				continue
			}
			if !slices.ContainsFunc(listed, func(m string) bool { return p == m || strings.HasPrefix(p, m+"/") }) {
				t.Errorf("%s: %s has no line in docs/dependencies.md", f.at(imp), p)
			}
		}
	}
}

// TestLinks: a link within the repository leads somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]+)[^)]*\)`)
	for _, s := range sources(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(s.text, -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			to := path.Join(s.pkg(), m[1])
			if _, err := os.Stat(filepath.Join("..", "..", filepath.FromSlash(to))); err != nil {
				t.Errorf("%s: link to %s, which is not there", s.path, m[1])
			}
		}
	}
}

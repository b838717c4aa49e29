package lint

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

const module = "example.com/bailiff"

// source is one file of the repository. Path is relative to its root.
type source struct {
	path string
	text string
}

// pkg is the directory, which is what the tables of rules are keyed by.
func (s *source) pkg() string { return path.Dir(s.path) }

func (s *source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

// lines counts lines as an editor does.
func (s *source) lines() int { return strings.Count(strings.TrimSuffix(s.text, "\n"), "\n") + 1 }

// generated says that no person writes this file: the mark is the one of the
// go command, and other languages' generators of ours write it too.
func (s *source) generated() bool {
	for line := range strings.Lines(s.text) {
		text := strings.TrimSpace(strings.Trim(strings.TrimSpace(line), "/*#-"))
		if strings.HasPrefix(text, "Code generated ") && strings.HasSuffix(text, "DO NOT EDIT.") {
			return true
		}
		if strings.HasPrefix(line, "package ") {
			break
		}
	}
	return false
}

// sources returns every file with one of the extensions, but for what is built
// and what tests read.
func sources(t *testing.T, extensions ...string) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var out []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			if os.IsNotExist(err) {
				return nil // a file of a test that runs at the same time
			}
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(strings.TrimPrefix(p, root), string(filepath.Separator)))
		if d.IsDir() {
			if d.Name() == ".git" || d.Name() == "testdata" || rel == "build" {
				return fs.SkipDir
			}
			return nil
		}
		for _, ext := range extensions {
			if strings.HasSuffix(p, ext) {
				b, err := os.ReadFile(p)
				if err != nil {
					return err
				}
				out = append(out, source{rel, string(b)})
				break
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("no %v files found: the test looks in the wrong place", extensions)
	}
	return out
}

// parsed is a Go file with its syntax.
type parsed struct {
	source
	ast  *ast.File
	fset *token.FileSet
}

func (p *parsed) at(n ast.Node) string {
	pos := p.fset.Position(n.Pos())
	pos.Filename = p.path
	return pos.String()
}

// goFiles parses every Go file, whatever its build constraints say: a rule
// holds for other systems and for tagged tests too.
func goFiles(t *testing.T) []parsed {
	t.Helper()
	var out []parsed
	for _, s := range sources(t, ".go") {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, s.path, s.text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, parsed{s, f, fset})
	}
	return out
}

package lint

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is the longest file that one may write by hand, tests included.
const maxLines = 500

// maxReadme keeps the first page a first page.
const maxReadme = 150

func TestFileLength(t *testing.T) {
	for _, s := range sources(t, ".go", ".c", ".h", ".rego", ".sh", ".proto") {
		if n := s.lines(); n > maxLines && !s.generated() {
			t.Errorf("%s: %d lines, more than %d: it is about two things", s.path, n, maxLines)
		}
	}
	for _, s := range sources(t, ".md") {
		if n := s.lines(); s.path == "README.md" && n > maxReadme {
			t.Errorf("%s: %d lines, more than %d", s.path, n, maxReadme)
		}
	}
}

// TestTopLevel: what is written by somebody lies in one of these directories.
func TestTopLevel(t *testing.T) {
	top := []string{"cmd", "bpf", "policy", "enforcer", "proto", "rules", "e2e", "docs", "internal"}
	for _, s := range sources(t, ".go", ".c", ".h", ".rego", ".sh", ".proto", ".md") {
		if dir, _, _ := strings.Cut(s.path, "/"); !slices.Contains(top, dir) && s.path != "README.md" && !strings.HasPrefix(s.path, ".") {
			t.Errorf("%s: it is in none of %v", s.path, top)
		}
	}
}

// TestLicenceLines: BPF code is loaded as "Dual BSD/GPL", and each file says so
// at its beginning.
func TestLicenceLines(t *testing.T) {
	for _, s := range sources(t, ".c", ".h") {
		head := s.text[:min(len(s.text), 120)] // a build constraint may stand above
		if !strings.Contains(head, "SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause") && !s.generated() {
			t.Errorf("%s: does not begin with its licence", s.path)
		}
	}
}

// TestNothingLeftToDo: what is missing is an issue, not a note in the code. The
// words are put together here, or this file would be found.
func TestNothingLeftToDo(t *testing.T) {
	note := regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
	for _, s := range sources(t, ".go", ".c", ".h", ".rego", ".sh", ".proto", "Makefile") {
		if s.generated() {
			continue
		}
		n := 0
		for line := range strings.Lines(s.text) {
			n++
			if w := note.FindString(line); w != "" {
				t.Errorf("%s:%d: %s", s.path, n, w)
			}
		}
	}
}

// TestPackageComments: each package says in its own words what it is.
func TestPackageComments(t *testing.T) {
	says := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.ast.Name.Name == "main" {
			says[f.pkg()] = says[f.pkg()] || f.ast.Doc != nil
			continue
		}
		ok := f.ast.Doc != nil && strings.HasPrefix(f.ast.Doc.Text(), "Package "+f.ast.Name.Name+" ")
		says[f.pkg()] = says[f.pkg()] || ok || f.generated()
	}
	for pkg, ok := range says {
		if !ok {
			t.Errorf("%s: no package comment", pkg)
		}
	}
}

// wellKnown methods are described by the interface that they are for.
var wellKnown = map[string]bool{
	"String": true, "Error": true, "Unwrap": true, "Is": true, "Close": true, "Len": true, "Less": true, "Swap": true,
	"MarshalText": true, "UnmarshalText": true, "MarshalJSON": true, "UnmarshalJSON": true, "ServeHTTP": true, "Write": true, "Read": true,
}

// TestExportedNames: each exported name has a comment; in a group one for the
// group will do.
func TestExportedNames(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.isTest() || f.generated() || f.ast.Name.Name == "main" {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && d.Doc == nil && !(d.Recv != nil && (wellKnown[d.Name.Name] || !exportedReceiver(d))) {
					t.Errorf("%s: %s has no comment", f.at(d), d.Name.Name)
				}
				if d.Name.Name == "init" && d.Recv == nil {
					t.Errorf("%s: init runs unasked; let somebody call it", f.at(d))
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if name, ok := uncommented(s); ok && d.Doc == nil {
						t.Errorf("%s: %s has no comment", f.at(s), name)
					}
				}
			}
		}
	}
}

func uncommented(s ast.Spec) (string, bool) {
	switch s := s.(type) {
	case *ast.TypeSpec:
		return s.Name.Name, s.Name.IsExported() && s.Doc == nil
	case *ast.ValueSpec:
		for _, n := range s.Names {
			if n.IsExported() && s.Doc == nil && s.Comment == nil {
				return n.Name, true
			}
		}
	}
	return "", false
}

func exportedReceiver(d *ast.FuncDecl) bool {
	exported := false
	ast.Inspect(d.Recv.List[0].Type, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && !exported {
			exported = token.IsExported(id.Name)
			return false
		}
		return true
	})
	return exported
}

package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/learn"
)

// TestLearnedIsClean: what learn writes is what `opa fmt` would, and passes
// `opa check --strict`.
func TestLearnedIsClean(t *testing.T) {
	for _, by := range []string{learn.ByProgram, learn.ByCgroup} {
		l := learn.New()
		l.Add(&event.Event{Hook: event.HookExec, Time: time.Unix(1, 0), File: &event.File{Path: "/opt/a"}, Exec: &event.Exec{ExecID: 2}})
		l.Add(&event.Event{Hook: event.HookOpen, Time: time.Unix(2, 0), File: &event.File{Path: "/etc/a"}, Open: []string{"read"}})
		dir := t.TempDir()
		p := l.Propose(learn.Options{Name: "my-app", By: by, Cgroup: "/a.service"})
		if err := writeProposal(p, dir); err != nil {
			t.Fatal(err)
		}
		files, err := p.Bundle()
		if err != nil {
			t.Fatal(err)
		}
		modules := map[string]*ast.Module{}
		for name, text := range files {
			if !bytes.HasSuffix([]byte(name), []byte(".rego")) {
				continue
			}
			clean, err := format.Source(name, text)
			if err != nil {
				t.Fatal(err)
			}
			again, err := format.Source(name, clean)
			if err != nil || !bytes.Equal(clean, again) {
				t.Errorf("%s is not stable under formatting: %v", name, err)
			}
			if modules[name], err = ast.ParseModuleWithOpts(name, string(clean), ast.ParserOptions{ProcessAnnotation: true}); err != nil {
				t.Fatal(err)
			}
		}
		c := ast.NewCompiler().WithStrict(true)
		if c.Compile(modules); c.Failed() {
			t.Errorf("by %s: %v", by, c.Errors)
		}
	}
}

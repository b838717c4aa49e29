package policy

import (
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"testing"
	"testing/fstest"

	"example.com/bailiff/rules"
)

// runner is somebody ahead, who fails at a step.
type runner struct {
	lowered *Lowered
	fails   Step
	seen    []Step
}

var errRunner = errors.New("exhausted")

func (r *runner) Did(_ context.Context, s Step) (bool, error) {
	r.seen = append(r.seen, s)
	if s == r.fails {
		return false, errRunner
	}
	return true, nil
}

func (r *runner) Lowered() *Lowered { return r.lowered }

// TestCompileAfter: what another process has lowered is taken over if it is of
// the same rules, and is then what this one would have made; nothing is done
// that failed there.
func TestCompileAfter(t *testing.T) {
	load := func(a *Archive, ahead Ahead) (string, *Policy) {
		t.Helper()
		p, r, err := a.CompileAfter(t.Context(), ahead)
		if err != nil {
			t.Fatal(err)
		}
		all, err := json.Marshal([]any{p.Explain(), p.program, r.Warnings, r.Lowered})
		if err != nil {
			t.Fatal(err)
		}
		return string(all), p
	}
	a, err := OpenFS(rules.FS, Options{})
	if err != nil {
		t.Fatal(err)
	}
	want, p := load(a, alone{})
	var wire bytes.Buffer
	if err := gob.NewEncoder(&wire).Encode(p.Lowered()); err != nil {
		t.Fatal(err)
	}
	sent := &Lowered{}
	if err := gob.NewDecoder(&wire).Decode(sent); err != nil {
		t.Fatal(err)
	}
	got, q := load(a, &runner{lowered: sent})
	if got != want {
		t.Errorf("taken over:\n%s\nmade here:\n%s", got, want)
	}
	if q.program != sent.Program {
		t.Error("it was not taken over")
	}

	// What is of other rules, or of another revision, is not.
	b, err := OpenFS(fstest.MapFS{"r.rego": {Data: []byte("package bailiff.exec\n\ndeny contains \"x\" if input.process.uid == 7\n")}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, other := load(b, alone{})
	renamed := *sent.Program
	renamed.Revision = "another"
	fewer := *other.program
	fewer.Revision = p.program.Revision
	for name, l := range map[string]*Lowered{
		"other rules": {Program: &fewer}, "another revision": {Program: &renamed, Deferred: sent.Deferred}, "nothing": {}, "nobody": nil,
	} {
		if got, _ := load(a, &runner{lowered: l}); got != want {
			t.Errorf("%s:\n%s\nmade here:\n%s", name, got, want)
		}
	}
	for i, s := range Steps[1:] {
		r := &runner{lowered: sent, fails: s}
		if _, _, err := a.CompileAfter(t.Context(), r); !errors.Is(err, errRunner) || len(r.seen) != i+1 {
			t.Errorf("failed at %s: %v after %v", s, err, r.seen)
		}
	}
}

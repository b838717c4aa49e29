package rollout

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

func TestKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "modes.json")
	k, err := OpenKept(path)
	if err != nil {
		t.Fatal(err)
	}
	enforce, audit := event.ModeEnforce, event.ModeAudit
	put := func(target Target, s Setting) {
		t.Helper()
		if err := k.Put(target, s); err != nil {
			t.Fatal(err)
		}
	}
	put(Target{}, Setting{Mode: &enforce, Share: 99})
	put(Target{Rule: "a"}, Setting{Mode: &audit})
	put(Target{Rule: "b"}, Setting{Mode: &audit})
	put(Target{Cgroup: "/x"}, Setting{Mode: &enforce})
	put(Target{Rule: "b"}, Setting{})
	again, err := OpenKept(path)
	if err != nil {
		t.Fatal(err)
	}
	m := again.Into(event.Modes{Rules: map[string]event.Mode{"c": enforce}})
	if m.All != enforce || m.Share != 99 || m.Rules["a"] != audit || m.Rules["c"] != enforce || len(m.Rules) != 2 || m.Cgroups["/x"] != enforce {
		t.Errorf("%+v", m)
	}
	if want := []string{"all", "cgroup /x", "rule a"}; !slices.Equal(again.Names(), want) {
		t.Errorf("%q, want %q", again.Names(), want)
	}
	if err := os.WriteFile(path, []byte(`{"rules": {"a": "perhaps"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if broken, err := OpenKept(path); err == nil || len(broken.Names()) != 0 {
		t.Errorf("a damaged file: %v, %v", broken.Names(), err)
	}
}

// ended collects how probations ended.
type ended struct{ how chan End }

func newProbation() (*Probation, *ended) {
	e := &ended{make(chan End, 8)}
	return NewProbation(func(_ Change, how End, _ string, err error) {
		if err != nil {
			how = "failed"
		}
		e.how <- how
	}), e
}

func TestProbation(t *testing.T) {
	p, e := newProbation()
	ctx, cancel := context.WithCancel(t.Context())
	ran := make(chan struct{})
	go func() { defer close(ran); p.Run(ctx) }()
	far := Change{Key: "k", Until: time.Now().Add(time.Hour)}
	back := func(context.Context) error { return nil }
	kept := 0
	keep := func() error { kept++; return nil }

	if _, err := p.Confirm("x"); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
	begin := func(c Change, back func(context.Context) error) {
		t.Helper()
		if err := p.Begin(c, keep, back); err != nil {
			t.Fatal(err)
		}
	}
	begin(far, back)
	if err := p.Begin(far, keep, back); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	if _, err := p.Confirm("x"); err != nil || <-e.how != Confirmed || kept != 1 {
		t.Errorf("confirm: %v, kept %d", err, kept)
	}
	begin(far, back)
	if _, err := p.Revert(ctx, "x"); err != nil || <-e.how != Reverted || kept != 1 {
		t.Errorf("revert: %v, kept %d", err, kept)
	}
	begin(far, back)
	p.Supersede("other", "x")
	if _, on := p.Current(); !on {
		t.Error("superseded by something else")
	}
	p.Supersede("k", "x")
	if how := <-e.how; how != Superseded {
		t.Error(how)
	}
	soon := Change{Key: "k", Until: time.Now().Add(time.Millisecond)}
	begin(soon, back)
	if how := <-e.how; how != Expired {
		t.Error(how)
	}
	begin(soon, func(context.Context) error { return errors.New("no way back") })
	if how := <-e.how; how != "failed" {
		t.Error(how)
	}
	if _, on := p.Current(); on {
		t.Error("still on probation")
	}
	cancel()
	<-ran
}

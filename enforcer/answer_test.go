package enforcer

import (
	"slices"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

func TestDivergence(t *testing.T) {
	wrong := func(change func(p *fakePolicy)) *fakePolicy { p := mixed(); change(p); return p }
	for _, tt := range []struct {
		name   string
		policy *fakePolicy
		path   string
		want   string
	}{
		{"the kernel's rule does not hold", wrong(func(p *fakePolicy) {
			p.rules[0].holds = func(*event.Event) bool { return false }
		}), "/bad", "the kernel's rule no-bad does not hold"},
		{"the kernel missed a rule", wrong(func(p *fakePolicy) {
			p.rules[0].holds = func(*event.Event) bool { return true }
		}), "/fine", "rule no-bad holds, the kernel missed it"},
		{"undecided, but not that rule", wrong(func(p *fakePolicy) {
			p.rules[0].holds = func(*event.Event) bool { return true }
		}), "/maybe/good", "rule no-bad holds, the kernel missed it"},
		{"none", mixed(), "/bad", ""},
		{"none, undecided", mixed(), "/maybe/bad", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := start(t, tt.policy, func(o *Options) { o.SampleEvery = 1 })
			r.kernel.act(execOf(2, tt.path))
			r.stop()
			d := r.sink.acts()[0].Decision
			if d.Divergence != (tt.want != "") || r.raised(CondDivergence) != d.Divergence || (d.Divergence && d.Message != tt.want) {
				t.Errorf("decision: %+v", d)
			}
		})
	}
}

// On a path that is not known whole, or of a file that had another name when it
// was judged, kernel and policy need not agree.
func TestNotComparable(t *testing.T) {
	for name, set := range map[string]func(*event.Event){
		"unresolved": func(ev *event.Event) { ev.File.Unresolved = true },
		"rebound":    func(ev *event.Event) { ev.Rebound = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, mixed(), nil)
			ev := execOf(2, "/deep")
			ev.File.Unresolved = true // to the fake kernel: the condition counts as met
			ev = r.kernel.decide(ev)
			ev.File.Unresolved = false
			set(ev)
			r.kernel.events <- ev
			r.stop()
			if d := r.sink.acts()[0].Decision; d.Divergence || d.Effect != event.EffectRefused || r.count("decisions_not_comparable") != 1 {
				t.Errorf("decision: %+v", d)
			}
		})
	}
}

// The kernel knows what an ancestor was that is no longer in the list of a record: the
// policy need not agree then, and has to where the list is whole.
func TestAncestorOffTheList(t *testing.T) {
	for _, cut := range []bool{true, false} {
		below := lowered("below", event.VerdictDeny, "/bad")
		when := &below.rule.Clauses[0].When
		*when = append(*when, ir.Cond{Field: event.FieldAncestors, Op: ir.OpIn, Strs: []string{"/gone"}})
		below.holds = func(e *event.Event) bool { return slices.Contains(e.Process.Ancestry, "/gone") }
		r := start(t, &fakePolicy{revision: "r1", rules: []fakeRule{below}}, nil)
		ev := execOf(2, "/bad")
		ev.Process.Ancestry = []string{"/gone"}
		ev = r.kernel.decide(ev)
		ev.Process.Ancestry, ev.Process.AncestorsCut = []string{"/near"}, cut
		r.kernel.events <- ev
		r.stop()
		if d := r.sink.acts()[0].Decision; d.Effect != event.EffectRefused || d.Divergence == cut || r.count("decisions_not_comparable") == 1 != cut {
			t.Errorf("list cut %v: %+v", cut, d)
		}
	}
}

func TestDeferredPartOrder(t *testing.T) {
	audit := deferred("audited", event.VerdictDeny, "/", "/x")
	audit.rule.Audit = true
	p := &fakePolicy{revision: "r", rules: []fakeRule{
		deferred("blocking", event.VerdictDeny, "/", "/x"), audit, deferred("alerting", event.VerdictAlert, "/", "/x")}}
	e, err := New(Options{Kernel: newFakeKernel(), Policy: p})
	if err != nil {
		t.Fatal(err)
	}
	in := e.newInstalled(p, p.Program(), 1)
	// The policy may name them in any order.
	whole := event.Decision{Rule: &p.rules[2].rule.Ref, Others: []event.RuleRef{p.rules[1].rule.Ref, p.rules[0].rule.Ref}}
	part, ok := in.deferredPart(event.HookExec, &whole)
	if !ok || part.rule.ID != "blocking" || !part.blocks || len(part.others) != 2 {
		t.Errorf("part %+v, ok %t", part, ok)
	}
	unknown := ref("stranger")
	if _, ok := in.deferredPart(event.HookExec, &event.Decision{Rule: &unknown}); ok {
		t.Error("concluded something from a rule that the program does not have")
	}
	if want := (RuleCount{Prefiltered: 3}); in.rules != want {
		t.Errorf("rules %+v", in.rules)
	}
}

// Behind an undecided rule the kernel does not look for alerts; and the rule of
// a stored verdict is only the first that it may be of. Neither is divergence.
func TestWhatTheKernelLeavesOpen(t *testing.T) {
	p := &fakePolicy{revision: "r1", rules: []fakeRule{
		deferred("first", event.VerdictDeny, "/maybe/", "/maybe/other"),
		deferred("second", event.VerdictDeny, "/maybe/", "/maybe/bad"),
		lowered("watch", event.VerdictAlert, "/maybe/good"),
	}}
	r := start(t, p, nil)
	open := r.kernel.decide(execOf(2, "/maybe/good"))
	open.Decision.Verdict, open.Decision.Rule = event.VerdictAllow, nil
	r.kernel.events <- open
	first := p.rules[0].rule.Ref
	stored := execOf(3, "/maybe/bad")
	stored.Decision = event.Decision{Verdict: event.VerdictDeny, Source: event.SourceCache, Effect: event.EffectRefused,
		Generation: 1, Rule: &first}
	r.kernel.events <- stored
	r.stop()
	got := r.sink.acts()
	if d := got[0].Decision; d.Divergence || d.Verdict != event.VerdictAlert || d.Rule.ID != "watch" {
		t.Errorf("left open: %+v", d)
	}
	if d := got[1].Decision; d.Divergence || d.Rule.ID != "second" {
		t.Errorf("stored verdict: %+v", d)
	}
}

// The kernel holds less of a rule than its program says: it may leave open what
// the decision key does not cover, so nothing is stored, and nothing diverges.
func TestWeakened(t *testing.T) {
	r := start(t, mixed(), func(o *Options) {
		o.Kernel = weakKernel{o.Kernel.(*fakeKernel)}
	})
	for pid, path := range map[int32]string{2: "/bad", 3: "/fine"} {
		ev := execOf(pid, path)
		ev.Decision = event.Decision{Verdict: event.VerdictAllow, Source: event.SourceDefault, Undecided: true, Generation: 1}
		r.kernel.events <- ev
	}
	r.stop()
	for _, ev := range r.sink.acts() {
		want := map[string]event.Verdict{"/bad": event.VerdictDeny, "/fine": event.VerdictAllow}[ev.File.Path]
		if d := ev.Decision; d.Verdict != want || d.Divergence {
			t.Errorf("%s: %+v", ev.File.Path, d)
		}
	}
	if s := r.Status(); len(r.kernel.remembered) != 0 || s.Cached != 0 || s.Rules.Prefiltered != 2 {
		t.Errorf("remembered %v, %+v", r.kernel.remembered, s)
	}
}

type weakKernel struct{ *fakeKernel }

func (weakKernel) Weakened(Generation) map[event.Hook][]int {
	return map[event.Hook][]int{event.HookExec: {0}}
}

// A rule that the kernel decides by one clause and leaves open by another: what
// the first says is not a function of the kernel's key.
func TestMixedAlertIsNotRemembered(t *testing.T) {
	rule := deferred("mixed", event.VerdictAlert, "/maybe/", "/maybe/x")
	rule.rule.Clauses = append(rule.rule.Clauses, lowered("", event.VerdictAlert, "/y").rule.Clauses...)
	r := start(t, &fakePolicy{revision: "r1", rules: []fakeRule{rule}}, nil)
	r.kernel.act(execOf(2, "/maybe/x"))
	r.kernel.act(execOf(3, "/maybe/z"))
	r.stop()
	if _, ok := r.kernel.remembered["1 /maybe/x"]; ok || r.kernel.remembered["1 /maybe/z"] != event.VerdictAllow {
		t.Errorf("remembered %v", r.kernel.remembered)
	}
}

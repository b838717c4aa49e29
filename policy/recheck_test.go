package policy

import (
	"reflect"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/rules"
)

// TestRecheck: the answer is that of Decide, with time for all rules and
// without; a rule that the lowered form does not expect is asked about with all
// others.
func TestRecheck(t *testing.T) {
	p, _, err := LoadFS(t.Context(), rules.FS, Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(newRand(7))
	w.learn(p)
	denied := map[string]bool{}
	for i := range 2000 {
		e := w.event([]event.Hook{event.HookExec, event.HookOpen, event.HookFork}[i%3])
		want, err := p.Decide(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if want.Rule == nil {
			continue
		}
		denied[want.Rule.ID] = true
		e.Decision = event.Decision{Verdict: want.Verdict, Rule: want.Rule, Source: event.SourceTable}
		for _, left := range []time.Duration{time.Hour, -time.Hour} {
			p.whole.left = left
			got, err := p.Recheck(t.Context(), e)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("with %v left: %+v, %v; Decide says %+v", left, got, err, want)
			}
		}
		e.Decision.Rule = &event.RuleRef{ID: "of another policy"}
		if got, err := p.Recheck(t.Context(), e); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("the kernel names an unknown rule: %+v, %v; Decide says %+v", got, err, want)
		}
	}
	if len(denied) < 8 {
		t.Errorf("only %d rules fired", len(denied))
	}
}

func TestAllowance(t *testing.T) {
	now := time.Now()
	a := &allowance{left: wholeBurst, at: now}
	a.take(wholeBurst + time.Second)
	if a.any(now.Add(19 * time.Second)) {
		t.Error("there is some before it has grown back")
	}
	if !a.any(now.Add(21 * time.Second)) {
		t.Error("there is none after it has grown back")
	}
	a.any(now.Add(time.Hour))
	if a.take(wholeBurst); a.any(now.Add(time.Hour)) {
		t.Error("it grows beyond its bound")
	}
}

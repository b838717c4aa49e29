package bpf

import (
	"context"
	"errors"
	"slices"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// readerOf is a program whose rules leave a part to user space that reads a
// field; held rules if hold.
func readerOf(h event.Hook, field string, hold bool) *ir.Program {
	return &ir.Program{Revision: "keys", Rules: map[event.Hook][]ir.Rule{h: {{
		Ref: event.RuleRef{ID: "reader"}, Verdict: event.VerdictDeny, Hold: hold,
		Clauses: []ir.Clause{{Maybe: true, Reads: []string{field}}},
	}}}}
}

// TestNothingStoredWithoutKey: for each field that the kernel's key does not
// hold, and for what is no field (all of input, the time), no answer is stored:
// not after the act, and at the gate for the one exec only.
func TestNothingStoredWithoutKey(t *testing.T) {
	w := newWorld(t, Options{})
	fields := []string{"input", "time"}
	for _, f := range event.Fields {
		fields = append(fields, f.Path)
	}
	outside := 0
	for _, f := range fields {
		_, inKey := keyGroups[f]
		for _, h := range event.Judged {
			conf := compile(readerOf(h, f, false)).conf[h-1]
			if stored := conf.Key&keyNone == 0; stored != inKey {
				t.Errorf("%s: a rule that reads %s: its answer is stored: %v", h, f, stored)
			}
		}
		conf := compile(readerOf(event.HookExec, f, true)).conf[event.HookExec-1]
		_, atGate := heldGroups[f]
		if stored := conf.HeldKey&keyNone == 0; stored != (inKey || atGate) || conf.Key != 0 {
			t.Errorf("a held rule that reads %s: its answer is stored: %v", f, stored)
		}
		// What the exec is given is in no key of the kernel's: such an answer is for one.
		if forOne := conf.HeldKey&keyGiven != 0; forOne != slices.Contains([]string{"args", "env", "cwd", "script"}, f) {
			t.Errorf("a held rule that reads %s: its answer is for one exec: %v", f, forOne)
		}
		if inKey {
			continue
		}
		outside++
		// And on a real act: the event has no key to store anything under.
		gen, err := w.k.Stage(context.Background(), readerOf(event.HookExec, f, false))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.k.Activate(gen); err != nil {
			t.Fatal(err)
		}
		if _, err := w.run("/bin/true"); err != nil {
			t.Fatal(err)
		}
		ev := w.events(event.HookExec, 1)[0]
		if err := w.k.Remember(gen, ev, event.VerdictDeny, false); !ev.Decision.Undecided || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%s: undecided %v, stored with %v", f, ev.Decision.Undecided, err)
		}
		if gen > 1 {
			if err := w.k.Retire(gen - 1); err != nil {
				t.Fatal(err)
			}
		}
	}
	if outside < 10 {
		t.Errorf("only %d fields are outside of the key", outside)
	}
}

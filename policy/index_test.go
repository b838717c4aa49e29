package policy

import (
	"slices"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// TestIndex: the index leaves out no rule whose lowered form may hold.
func TestIndex(t *testing.T) {
	p := mustLoad(t, ratePolicy()+`
deny contains "other" if { input.file.path in {"/a", "/b"}; "x" in input.args }
deny contains "other" if { startswith(input.file.path, "/opt/"); contains(input.file.path, "x") }
deny contains "other" if { input.process.uid in {0, 1001}; not "y" in input.args }
deny contains "other" if { not input.file.name == "ls"; input.process.comm == "z" }
`, "")
	w := newWorld(newRand(7))
	events := rateEvents(t, p)
	for range 500 {
		events = append(events, w.event(event.HookExec))
	}
	events = append(events, execOf("/a", 5), execOf("/opt/x", 5), &event.Event{Hook: event.HookExec, File: &event.File{Path: "/un", Unresolved: true}})
	rules := p.program.Rules[event.HookExec]
	for _, e := range events {
		key := ir.KeyOf(e)
		var want []int
		for i := range rules {
			if certain, maybe := rules[i].Holds(key); certain || maybe {
				want = append(want, i)
			}
		}
		if got := p.open(e, everyRule); !slices.Equal(got, want) {
			t.Fatalf("%s by %d: index gives %v, trying each %v", e.File.Path, e.Process.UID, got, want)
		}
	}
}

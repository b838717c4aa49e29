package enforcer

import (
	"context"
	"testing"

	"example.com/bailiff/internal/event"
)

// TestRedactionIsAfterTheDecision: the policy judges what was written, sinks
// get what may be kept, numbers included.
func TestRedactionIsAfterTheDecision(t *testing.T) {
	p, seen := mixed(), make(chan string, 1)
	p.before = func(_ context.Context, ev *event.Event) error {
		seen <- ev.Exec.Args[0]
		return nil
	}
	r := start(t, p, func(o *Options) {
		o.Redact = func(e *event.Event) *event.Event {
			if e.Exec == nil {
				return e
			}
			out := *e
			out.Exec = &event.Exec{Args: []string{"hidden"}}
			return &out
		}
	})
	defer r.stop()
	act := exec2("/maybe/bad")
	act.Exec = &event.Exec{Args: []string{"secret"}}
	r.kernel.act(act)
	got := r.sink.waitActs(t, 1)[0]
	if arg := <-seen; arg != "secret" || got.Exec.Args[0] != "hidden" || got.Seq == 0 || got.Decision.Verdict != event.VerdictDeny {
		t.Errorf("the policy saw %q, the sink %q, number %d, %v", arg, got.Exec.Args[0], got.Seq, got.Decision.Verdict)
	}
}

package e2e

import (
	"os"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// TestReload shows that a policy change has no moment in which neither policy
// is in force: under load, what both deny is always denied, what both allow
// never, and what only one of them denies changes once for each change.
func TestReload(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		if !refuses(backend) {
			t.Skip("the " + backend + " backend refuses no open")
		}
		w := newWorld(t, backend)
		always, never, changing, stop := w.path("always"), w.path("never"), w.path("changing"), w.path("stop")
		for _, f := range []string{always, never, changing} {
			w.write(f, []byte("content"), 0o644)
		}
		data := func(secrets ...string) map[string]any {
			return map[string]any{"secrets": secrets, "vaults": []string{}, "readonly": []string{}}
		}
		w.policy(data(always), map[string]string{"open": openPolicy})
		w.start(event.ModeEnforce)
		_ = w.stream.Close() // a guest has one processor: it is for the load and the agent

		type result struct {
			o   *harness.Outcome
			err error
		}
		done := make(chan result)
		go func() {
			o, err := w.actor().Do([]string{"hammer", stop, always, never, changing})
			done <- result{o, err}
		}()
		st, err := w.agent.Status(w.wait())
		if err != nil {
			t.Fatal(err)
		}
		const changes = 4
		for i := range changes {
			if i%2 == 0 {
				w.policy(data(always, changing), nil)
			} else {
				w.policy(data(always), nil)
			}
			w.must(w.reload())
			old := st.Generation
			eventually(t, "the new policy is active", func() bool {
				st, err = w.agent.Status(w.wait())
				return err == nil && st.Generation > old
			})
		}
		w.must(os.WriteFile(stop, nil, 0o644))
		r := <-done
		if r.err != nil {
			t.Fatal(r.err)
		}
		h, err := harness.ReadHammered(r.o)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v", h)
		if h.Wrong != 0 || h.Changes > changes || h.Changes == 0 || h.Last != "allowed" {
			t.Errorf("got %+v, want no wrong answer and at most %d changes, the last to allowed", h, changes)
		}
		w.stopOnly()
	})
}

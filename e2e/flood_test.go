package e2e

import (
	"os"
	"strconv"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// TestNativeReload changes the policy while a process opens files as fast as
// 20,000 a second. Each decision names a revision and is what that revision
// says; each open has one, or is counted as lost.
func TestNativeReload(t *testing.T) {
	if inGuest() {
		t.Skip("natively only: a guest is not that fast")
	}
	backends(t)
	// Without a measurement to make, a rate that a busy machine can do too.
	rate, changes := 2500, 4
	if os.Getenv(envBench) != "" {
		rate, changes = 24_000, 10
	}
	w := newWorld(t, tracepoint)
	always, never, changing, stop := w.path("always"), w.path("never"), w.path("changing"), w.path("stop")
	for _, f := range []string{always, never, changing} {
		w.write(f, []byte("content"), 0o644)
	}
	put := func(secrets ...string) {
		w.policy(map[string]any{"secrets": secrets, "vaults": []string{}, "readonly": []string{}}, map[string]string{"open": openPolicy})
	}
	put(always)
	w.start(event.ModeEnforce, "--all-opens", "--ring-bytes", "67108864")
	_ = w.stream.Close()
	ctx := w.wait()
	stream, err := w.agent.Follow(ctx, "--hook", "open")
	w.must(err)
	defer stream.Close()
	lost := func() (n uint64) {
		st, err := w.agent.Status(w.wait())
		w.must(err)
		return st.Counters["kernel_drop_open"]
	}
	before := lost()

	type result struct {
		o   *harness.Outcome
		err error
	}
	done := make(chan result)
	go func() {
		step := []string{"flood", stop, strconv.Itoa(rate), always, changing}
		for range 10 { // as in life, most is allowed; OPA judges each denial once more
			step = append(step, never)
		}
		o, err := w.actor().Do(step)
		done <- result{o, err}
	}()
	st, err := w.agent.Status(w.wait())
	w.must(err)
	type named struct {
		revision string
		denies   bool // the changing file
	}
	known := map[uint32]named{st.Generation: {st.Revision, false}}
	for i := range changes {
		if i%2 == 0 {
			put(always, changing)
		} else {
			put(always)
		}
		old := st.Generation
		eventually(t, "the new policy is active", func() bool {
			st, err = w.agent.Status(w.wait())
			return err == nil && st.Generation > old
		})
		known[st.Generation] = named{st.Revision, i%2 == 0}
		// The load is to meet each of them, also one that is in force for a moment.
		eventually(t, "the new policy has decided", func() bool {
			all := stream.All()
			return len(all) > 0 && all[len(all)-1].Decision.Generation == st.Generation
		})
	}
	w.must(os.WriteFile(stop, nil, 0o644))
	r := <-done
	w.must(r.err)
	f, err := harness.ReadFlooded(r.o)
	w.must(err)

	ours := map[string]bool{always: true, never: true, changing: true}
	count := func() (n, wrong int, by map[uint32]int) {
		by = map[uint32]int{}
		for _, e := range stream.All() {
			if e.Hook != event.HookOpen || e.File == nil || !ours[e.File.Path] {
				continue
			}
			n++
			d := &e.Decision
			by[d.Generation]++
			p, ok := known[d.Generation]
			want := e.File.Path == always || e.File.Path == changing && p.denies
			// What is allowed names the generation alone.
			if !ok || want != (d.Verdict == event.VerdictDeny) || want && d.Revision != p.revision || d.Divergence {
				if wrong++; wrong < 5 {
					t.Errorf("wrong: %s", show(e))
				}
			}
		}
		return n, wrong, by
	}
	var n, wrong int
	var by map[uint32]int
	var gone uint64
	eventually(t, "every open is accounted for", func() bool {
		gone = lost() - before + stream.Gaps()
		n, wrong, by = count()
		return n+int(gone) >= f.Opens
	})
	t.Logf("%d opens in %v (%.0f a second) over %d changes of the policy: %d decisions delivered, %d lost and counted, %d wrong; by generation %v",
		f.Opens, f.Took.Round(1e6), float64(f.Opens)/f.Took.Seconds(), changes, n, gone, wrong, by)
	// What the process opened beside is counted too where it is lost.
	if n+int(gone) < f.Opens || n > f.Opens || len(by) != changes+1 || wrong != 0 {
		t.Errorf("%d decisions, %d of them wrong, and %d lost for %d opens, generations %v", n, wrong, gone, f.Opens, by)
	}
	w.stopOnly()
}

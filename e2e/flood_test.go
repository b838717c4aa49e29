package e2e

import (
	"context"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// envRate is how many opens a second TestNativeReload makes.
const envRate = "BAILIFF_E2E_RATE"

// TestNativeReload changes the policy while a process opens files as fast as
// 20,000 a second. Each decision names a revision and is what that revision
// says; each open has one, or is counted as lost. None passed unjudged.
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
	if s := os.Getenv(envRate); s != "" {
		var err error
		if rate, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
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
	w.startOnly(event.ModeEnforce, "--all-opens", "--ring-bytes", "67108864")
	all := &decisions{count: map[harness.Decided]int{}, changed: make(chan struct{})}
	siem := &harness.Consumer{Each: all.add, Filter: &bailiffv1.EventsRequest{Hooks: []bailiffv1.Hook{bailiffv1.Hook_HOOK_OPEN}, Buffer: 65536}}
	w.attend(siem)
	w.must(siem.Subscribed(w.wait()))
	before, err := w.agent.Status(w.wait())
	w.must(err)

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
	type named struct {
		revision string
		denies   bool // the changing file
	}
	known := map[uint32]named{before.Generation: {before.Revision, false}}
	newest := before.Generation
	for i := range changes {
		if i%2 == 0 {
			put(always, changing)
		} else {
			put(always)
		}
		next := all.until(w.wait(), t, func(d *harness.Decided) bool { return d.Code == "policy-change" && d.Generation > newest })
		newest = next.Generation
		known[newest] = named{next.Revision, i%2 == 0}
		// The load is to meet each of them, also one that is in force for a moment.
		all.until(w.wait(), t, func(d *harness.Decided) bool { return d.Hook == event.HookOpen && d.Generation == newest })
	}
	w.must(os.WriteFile(stop, nil, 0o644))
	r := <-done
	w.must(r.err)
	f, err := harness.ReadFlooded(r.o)
	w.must(err)

	lost := func() (n uint64) {
		runs, _ := siem.Runs()
		for _, r := range runs {
			n += r.AllLost()
		}
		return n
	}
	mine := func() (n int) {
		for d, k := range all.sum() {
			if d.Path == always || d.Path == never || d.Path == changing {
				n += k
			}
		}
		return n
	}
	eventually(t, "every open is accounted for", func() bool { return mine()+int(lost()) >= f.Opens })
	n, gone, wrong, by := mine(), lost(), 0, map[uint32]int{}
	for d, k := range all.sum() {
		if d.Path != always && d.Path != never && d.Path != changing {
			continue
		}
		by[d.Generation] += k
		p, ok := known[d.Generation]
		want := d.Path == always || d.Path == changing && p.denies
		// What is allowed names the generation alone.
		if !ok || want != (d.Verdict == event.VerdictDeny) || want && d.Revision != p.revision || d.Divergence {
			wrong += k
			t.Errorf("wrong, %d times: %+v", k, d)
		}
	}
	cpu, child, err := harness.ProcessCPU(w.agent.PID())
	w.must(err)
	after, err := w.agent.Status(w.wait())
	w.must(err)
	if seen := after.Counters["kernel_seen_open"] - before.Counters["kernel_seen_open"]; seen < uint64(f.Opens) {
		t.Errorf("the kernel judged %d of %d opens", seen, f.Opens)
	}
	for name, k := range after.Counters {
		if strings.HasPrefix(name, "kernel_fail_open_") && k != before.Counters[name] {
			t.Errorf("%s: %d acts", name, k-before.Counters[name])
		}
	}
	t.Logf("%d opens in %v (%.0f a second) over %d changes of the policy: %d decisions delivered, %d lost and counted, %d wrong; by generation %v; the agent took %v of processor time, trying the bundles %v",
		f.Opens, f.Took.Round(1e6), float64(f.Opens)/f.Took.Seconds(), changes, n, gone, wrong, by, cpu, child)
	// What the process opened beside is counted too where it is lost.
	if n+int(gone) < f.Opens || n > f.Opens || len(by) != changes+1 {
		t.Errorf("%d decisions and %d lost for %d opens, generations %v", n, gone, f.Opens, by)
	}
	w.stopOnly()
}

// decisions counts what a stream says, each that is alike together.
type decisions struct {
	mu      sync.Mutex
	count   map[harness.Decided]int
	changed chan struct{} // closed when there is one that was not there before
}

func (d *decisions) add(b []byte) error {
	one, err := harness.ReadDecided(b)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.count[one]++; d.count[one] == 1 {
		close(d.changed)
		d.changed = make(chan struct{})
	}
	return nil
}

func (d *decisions) sum() map[harness.Decided]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.count)
}

// until waits for a decision that matches, and returns it.
func (d *decisions) until(ctx context.Context, t *testing.T, match func(*harness.Decided) bool) harness.Decided {
	t.Helper()
	for {
		d.mu.Lock()
		for one := range d.count {
			if match(&one) {
				d.mu.Unlock()
				return one
			}
		}
		changed := d.changed
		d.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatal("a decision that was waited for did not come")
		}
	}
}

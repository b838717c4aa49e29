package e2e

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// Backends by name.
const (
	lsm        = "lsm"
	modReturn  = "modify-return"
	tracepoint = "tracepoint"
)

// patience is how long one wait may take: guests are emulated.
const patience = 2 * time.Minute

// backends lists what must work on this machine.
func backends(t testing.TB) []string {
	t.Helper()
	if s := os.Getenv(envBackends); s != "" {
		return strings.Split(s, ",")
	}
	if os.Geteuid() != 0 {
		skipLayer(t, "native", "needs root")
	}
	if _, err := harness.Cgroup2Mount(); err != nil {
		skipLayer(t, "native", err.Error())
	}
	return []string{tracepoint}
}

// refuses reports whether the backend can refuse an act with EPERM.
func refuses(backend string) bool { return backend != tracepoint }

// eachBackend runs f as a subtest for each backend.
func eachBackend(t *testing.T, f func(t *testing.T, backend string)) {
	for _, b := range backends(t) {
		t.Run(b, func(t *testing.T) { f(t, b) })
	}
}

// eachBackendOnce is for what is the same with LSM and modify-return: guests try it
// with one of them.
func eachBackendOnce(t *testing.T, f func(t *testing.T, backend string)) {
	eachBackend(t, func(t *testing.T, backend string) {
		if inGuest() && backend == modReturn {
			t.Skip("time: it is tried with the LSM")
		}
		f(t, backend)
	})
}

// modesOf lists the modes in which a backend is tried here: guests are slow, and
// the older one audits for both.
func modesOf(backend string) []event.Mode {
	if inGuest() && refuses(backend) && !olderGuest() {
		return []event.Mode{event.ModeEnforce}
	}
	return []event.Mode{event.ModeEnforce, event.ModeAudit}
}

// shareOf lists fewer: one guest enforces, the older one audits.
func shareOf(backend string) []event.Mode {
	modes := modesOf(backend)
	if inGuest() && refuses(backend) {
		return modes[len(modes)-1:]
	}
	return modes
}

// refusing runs f for each backend that can refuse, in its share of modes.
func refusing(t *testing.T, f func(t *testing.T, backend string, mode event.Mode)) {
	eachBackend(t, func(t *testing.T, backend string) {
		if !refuses(backend) {
			t.Skip("the " + backend + " backend sees execs and opens only")
		}
		for _, mode := range shareOf(backend) {
			t.Run(mode.String(), func(t *testing.T) { f(t, backend, mode) })
		}
	})
}

// promised is what a backend that can refuse does about an act: rule is the one
// that denies it, "" for none.
func promised(rule string, mode event.Mode) (syscall.Errno, event.Effect) {
	if rule != "" && mode == event.ModeEnforce {
		return syscall.EPERM, event.EffectRefused
	}
	return 0, event.EffectNone
}

// world is a directory with files to act on, a cgroup, and an agent whose
// policy is about them.
type world struct {
	binary  string // in place of the program that was built
	t       *testing.T
	dir     string
	bundle  string
	backend string
	cgroup  *harness.Cgroup
	keep    string // directory that outlives the agent, "" for one that does not
	agent   *harness.Agent
	stream  *harness.Stream
	follow  []string      // further arguments of `bailiff events`
	root    *harness.Root // where agent and acts run; nil means here
}

// newWorld makes directory and cgroup; the agent is started later.
func newWorld(t *testing.T, backend string) *world {
	t.Helper()
	w := &world{t: t, backend: backend, dir: t.TempDir()}
	// Acts run under other user ids too.
	for d := w.dir; d != "/" && d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.cgroup, err = harness.NewCgroup("bailiff-test"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.cgroup.Remove(); err != nil {
			t.Error(err)
		}
	})
	w.bundle = w.path("bundle")
	return w
}

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

// write makes a file, and the directories above it.
func (w *world) write(name string, content []byte, perm os.FileMode) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		w.t.Fatal(err)
	}
	// Written aside and renamed, as careful programs replace a file.
	if err := os.WriteFile(name+".new", content, perm); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		w.t.Fatal(err)
	}
}

// policy writes the bundle: one Rego module per hook, and data below data.e2e.
func (w *world) policy(data map[string]any, modules map[string]string) {
	w.t.Helper()
	b, err := json.Marshal(map[string]any{"e2e": data})
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(filepath.Join(w.bundle, "data.json"), b, 0o644)
	for name, text := range modules {
		w.write(filepath.Join(w.bundle, name+".rego"), []byte(text), 0o644)
	}
}

// identities gives names to files.
func (w *world) identities(names map[string][]string) {
	w.t.Helper()
	b, err := json.Marshal(names)
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(filepath.Join(w.bundle, "bailiff", "identities", "data.json"), b, 0o644)
}

// rebound does something that asks for paths of the policy to be bound again,
// and waits until that has been done.
func (w *world) rebound(change func()) {
	w.t.Helper()
	ctx := w.wait()
	count := func() uint64 {
		s, err := w.agent.Status(ctx)
		if err != nil {
			w.t.Fatal(err)
		}
		return s.Counters["kernel_rebinds"]
	}
	before := count()
	change()
	for tick := time.NewTicker(20 * time.Millisecond); count() == before; <-tick.C {
	}
}

// renamed moves a file or directory and waits until the agent has looked for it.
func (w *world) renamed(from, to string) {
	w.t.Helper()
	var fs syscall.Statfs_t
	w.must(syscall.Statfs(from, &fs))
	if fs.Type == overlayMagic {
		w.t.Skip("what is moved is not followed: inodes have no generation on an overlay")
	}
	w.rebound(func() { w.must(os.Rename(from, to)) })
}

const overlayMagic = 0x794c7630 // linux/magic.h

// start runs the agent and subscribes to its events.
func (w *world) start(mode event.Mode, args ...string) {
	w.t.Helper()
	w.startOnly(mode, args...)
	var err error
	if w.stream, err = w.agent.Follow(w.wait(), w.follow...); err != nil {
		w.t.Fatal(err)
	}
	stream := w.stream
	w.t.Cleanup(func() { _ = stream.Close() })
}

// startOnly runs the agent.
func (w *world) startOnly(mode event.Mode, args ...string) {
	w.t.Helper()
	p, err := build()
	if err != nil {
		w.t.Fatal(err)
	}
	ctx := w.wait()
	w.agent, err = harness.Start(ctx, harness.Config{
		Binary: cmp.Or(w.binary, p.bailiff), Bundle: w.bundle, Backend: w.backend, Mode: mode, Cgroup: w.cgroup, Root: w.root, Keep: w.keep, Args: args,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	agent := w.agent
	w.t.Cleanup(func() {
		_ = agent.Kill()
		if w.t.Failed() {
			w.t.Logf("log of the agent:\n%s", agent.Log())
		}
	})
}

// stop ends the agent as systemd does, and checks what must hold of every run:
// nothing was lost, and kernel and OPA never disagreed.
func (w *world) stop() {
	w.t.Helper()
	checkStream(w.t, w.stream)
	w.stopOnly()
}

// stopOnly ends the agent as systemd does.
func (w *world) stopOnly() {
	w.t.Helper()
	if err := w.agent.Stop(w.wait()); err != nil {
		w.t.Error(err)
	}
}

// checkStream checks what must hold of every stream: no event is missing that
// is not declared as lost, and kernel and OPA never disagree.
func checkStream(t *testing.T, s *harness.Stream) {
	t.Helper()
	events, missing := s.All(), uint64(0)
	for i, e := range events {
		if e.Decision.Divergence {
			t.Errorf("kernel and OPA disagree: %s", show(e))
		}
		if i > 0 {
			missing += e.Seq - events[i-1].Seq - 1
		}
	}
	if gaps := s.Gaps(); missing > gaps {
		t.Errorf("%d events are missing, %d are declared as lost", missing, gaps)
	}
}

// wait is a context for one wait.
func (w *world) wait() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	w.t.Cleanup(cancel)
	return ctx
}

// actor runs act programs in the cgroup.
func (w *world) actor() harness.Actor { return harness.Actor{Cgroup: w.cgroup, Dir: "/"} }

// do runs an act program and returns what became of it and all its events.
func (w *world) do(a harness.Actor, steps ...[]string) (*harness.Outcome, []*event.Event) {
	w.t.Helper()
	o, err := a.Do(steps...)
	if err != nil {
		w.t.Fatal(err)
	}
	if o.PID == 0 || a.Cgroup == nil {
		return o, nil
	}
	events, err := w.stream.Of(w.wait(), o.PID)
	if err != nil {
		w.t.Fatalf("events of %v: %v", o, err)
	}
	return o, events
}

// denials returns the events with a deny verdict of one hook and rule.
func denials(events []*event.Event, hook event.Hook, rule string) (out []*event.Event) {
	for _, e := range events {
		if e.Hook == hook && e.Decision.Verdict == event.VerdictDeny && e.Decision.Rule != nil && e.Decision.Rule.ID == rule {
			out = append(out, e)
		}
	}
	return out
}

// anyDenial returns the first event with a deny verdict, nil if there is none.
func anyDenial(events []*event.Event) *event.Event {
	if i := slices.IndexFunc(events, func(e *event.Event) bool { return e.Decision.Verdict == event.VerdictDeny }); i >= 0 {
		return events[i]
	}
	return nil
}

func show(e *event.Event) string {
	b, _ := json.Marshal(e)
	return string(b)
}

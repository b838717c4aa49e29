package bpf

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// world is a cgroup of its own, with the kernel side limited to it.
type world struct {
	t   testing.TB
	k   *Kernel
	dir *os.File
	gen event.Generation // in force
}

func newWorld(t testing.TB, opt Options) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	root, err := cgroupRoot()
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp(root, "bailiff-test-")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close(); os.Remove(dir) })
	opt.Scope = []string{dir}
	if opt.Backend == "" {
		opt.Backend = BackendTracepoint
	}
	k, err := Open(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return &world{t: t, k: k, dir: f}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// in is the same world for a subtest.
func (w *world) in(t *testing.T) *world {
	w.t = t
	return w
}

// run runs a program inside the cgroup.
func (w *world) run(path string, args ...string) (*os.ProcessState, error) {
	cmd := exec.Command(path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(w.dir.Fd())}
	err := cmd.Run()
	return cmd.ProcessState, err
}

// runTest runs one test of this test binary inside the cgroup, with a variable that
// tells it what it is for.
func (w *world) runTest(name, variable, value string) {
	w.t.Helper()
	self, err := os.Executable()
	w.must(err)
	cmd := exec.Command(self, "-test.run", "^"+name+"$")
	cmd.Env = append(os.Environ(), variable+"="+value)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(w.dir.Fd())}
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
}

func (w *world) enforce(p *ir.Program) event.Generation {
	w.t.Helper()
	gen, err := w.k.Stage(context.Background(), p)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.k.Activate(gen); err != nil {
		w.t.Fatal(err)
	}
	if w.gen != 0 {
		w.must(w.k.Retire(w.gen))
	}
	w.gen = gen
	if err := w.k.SetModes(event.Modes{All: event.ModeEnforce}); err != nil {
		w.t.Fatal(err)
	}
	return gen
}

// events reads until there are n events of a hook, or nothing more comes.
func (w *world) events(h event.Hook, n int) []*event.Event {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var out []*event.Event
	for len(out) < n {
		ev, err := w.k.Next(ctx)
		if errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) {
			w.t.Fatalf("%d of %d %s events", len(out), n, h)
		}
		if err != nil {
			w.t.Fatal(err)
		}
		if ev.Hook == h {
			out = append(out, ev)
		}
	}
	return out
}

func copyFile(t *testing.T, from, to string) string {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

// exitProgram makes a program that exits. Those of a guest are busybox, which
// does nothing under a name that it does not know.
func exitProgram(t *testing.T, at string) string {
	t.Helper()
	if err := harness.WriteProgram(at, harness.ExitProgram()); err != nil {
		t.Fatal(err)
	}
	return at
}

func denyExec(conds ...ir.Cond) *ir.Program {
	return &ir.Program{Revision: "test", Rules: map[event.Hook][]ir.Rule{event.HookExec: {{
		Ref: event.RuleRef{ID: "test-deny"}, Verdict: event.VerdictDeny, Clauses: []ir.Clause{{When: conds}},
	}}}}
}

// TestKill: the tracepoint backend kills the new image before it can act, by
// identity: through a hard link and a rename too, and not a copy elsewhere.
func TestKill(t *testing.T) {
	w := newWorld(t, Options{Env: []string{"SHOWN"}})
	dir := t.TempDir()
	touch := copyFile(t, "/usr/bin/touch", filepath.Join(dir, "guilty"))
	w.enforce(denyExec(ir.Cond{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{touch}}))
	mark := filepath.Join(dir, "mark")

	check := func(path string, dead bool) {
		t.Helper()
		os.Remove(mark)
		st, err := w.run(path, mark)
		_, statErr := os.Stat(mark)
		killed := st != nil && st.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if killed != dead || (statErr != nil) != dead {
			t.Errorf("%s: killed %v (%v), mark missing %v; want %v", path, killed, err, statErr != nil, dead)
		}
	}
	check(touch, true)
	link := filepath.Join(dir, "innocent-name")
	if err := os.Link(touch, link); err != nil {
		t.Fatal(err)
	}
	check(link, true)
	check(copyFile(t, "/usr/bin/touch", filepath.Join(dir, "copy")), false)

	evs := w.events(event.HookExec, 3)
	for i, want := range []event.Effect{event.EffectKilled, event.EffectKilled, event.EffectNone} {
		ev := evs[i]
		if ev.Decision.Effect != want {
			t.Errorf("event %d: effect %s, want %s", i, ev.Decision.Effect, want)
		}
		if len(ev.Exec.Args) != 2 || ev.Exec.Args[1] != mark {
			t.Errorf("event %d: args %q", i, ev.Exec.Args)
		}
		if len(ev.Exec.Env) > 1 {
			t.Errorf("event %d: env %v holds what was not selected", i, ev.Exec.Env)
		}
	}
	if d := evs[0].Decision; d.Rule == nil || d.Rule.ID != "test-deny" || d.Verdict != event.VerdictDeny {
		t.Errorf("decision %+v", d)
	}
	if evs[1].File.Path != touch {
		t.Errorf("hard link: canonical path %s, want %s", evs[1].File.Path, touch)
	}
}

// TestOpenReported: the tracepoint backend cannot refuse an open, but sees it,
// by identity, whatever name was used.
func TestOpenReported(t *testing.T) {
	w := newWorld(t, Options{})
	dir := t.TempDir()
	secret := copyFile(t, "/etc/hostname", filepath.Join(dir, "secret"))
	link := filepath.Join(dir, "other")
	if err := os.Link(secret, link); err != nil {
		t.Fatal(err)
	}
	w.enforce(&ir.Program{Revision: "test", Rules: map[event.Hook][]ir.Rule{event.HookOpen: {{
		Ref: event.RuleRef{ID: "test-open"}, Verdict: event.VerdictDeny,
		Clauses: []ir.Clause{{When: []ir.Cond{{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{secret}}}}},
	}}}})
	if _, err := w.run("/bin/cat", link); err != nil {
		t.Fatal(err)
	}
	ev := w.events(event.HookOpen, 1)[0]
	if ev.Decision.Verdict != event.VerdictDeny || ev.Decision.Effect != event.EffectNone || ev.File.Path != secret {
		t.Errorf("verdict %s effect %s file %v", ev.Decision.Verdict, ev.Decision.Effect, ev.File.Names)
	}
	if ev.Process.Exe.Path != "/usr/bin/cat" {
		t.Errorf("program %q", ev.Process.Exe.Path)
	}
}

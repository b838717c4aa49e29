package bpf

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

func TestHistory(t *testing.T) {
	g := &generation{}
	b := func(n int) *binding {
		return &binding{missing: n, named: map[boundName]truth{}}
	}
	g.bind(b(0), 0)
	want := func(number uint32, binding int, sure bool) {
		t.Helper()
		if got, ok := g.inForce(number); got.missing != binding || ok != sure {
			t.Errorf("decided at %d: binding %d (%v), want %d (%v)", number, got.missing, ok, binding, sure)
		}
	}
	want(0, 0, true)
	want(6, 0, true)
	g.bind(b(1), 8)
	want(6, 0, true)
	want(7, 0, false) // while it was bound anew
	want(8, 1, true)
	want(10, 1, true) // another generation was bound anew
	g.bindSame(b(2))
	want(8, 2, true)
	want(6, 0, true)
	for i := range uint32(maxBindings) {
		g.bind(b(10+int(i)), 20+2*i)
	}
	want(6, 10, false) // too long ago
	want(20, 10, true)
	want(0, 10+maxBindings-1, true)

	// Large ones are not kept for long.
	large := b(99)
	for i := range maxBoundNames + 1 {
		large.named[boundName{kernelFileId{Ino: uint64(i)}, ""}] = truth{}
	}
	g.bind(large, 100)
	if h := *g.history.Load(); len(h) != 2 || !g.still(100) || g.still(20) {
		t.Errorf("%d bindings are kept", len(h))
	}
}

// testDecidedBefore: a record that is read after its files got other names tells
// of those by which the kernel decided.
func testDecidedBefore(t *testing.T, w *world) {
	dir := t.TempDir()
	prog, moved := filepath.Join(dir, "prog"), filepath.Join(dir, "moved")
	exitProgram(t, prog)
	w.enforce(denyExec(ir.Cond{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{prog}}))
	g := w.k.active.Load()
	// Nothing of the policy changes, and the number stays.
	before := g.bound()
	w.rebound(func() { w.must(os.WriteFile(filepath.Join(dir, "other"), nil, 0o644)) }, func(b *binding) bool { return b != before })
	if !g.still(0) {
		t.Error("bound anew though nothing that a rule names has changed")
	}
	// Decided while it is bound by its inode, read when another file is. The
	// kernel does not look at the directory in between: the agent's poll is held.
	w.k.mu.Lock()
	w.must(os.Rename(prog, moved))
	w.wantKilled(moved)
	exitProgram(t, prog)
	w.k.mu.Unlock()
	w.rebound(func() {}, func(*binding) bool { return !g.still(0) })
	w.must(func() error { _, err := w.run(moved); return err }())

	evs := w.events(event.HookExec, 2)
	for i, want := range []struct {
		verdict event.Verdict
		name    string
	}{{event.VerdictDeny, prog}, {event.VerdictNone, moved}} {
		d := evs[i].Decision
		if d.Verdict != want.verdict || !slices.Equal(evs[i].File.Names, []string{want.name}) || evs[i].Rebound {
			t.Errorf("exec %d: %v of %v (rebound %v), want %v of %s", i, d.Verdict, evs[i].File.Names, evs[i].Rebound, want.verdict, want.name)
		}
	}
	// Decided while it was being done.
	if _, sure := g.inForce(w.k.config.Bindings - 1); sure {
		t.Error("a decision in the middle counts as comparable")
	}
}

// mountsChanged reports whether the mount table has changed since it was opened, or
// asked about.
func mountsChanged(mounts *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(mounts.Fd()), Events: unix.POLLPRI}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&unix.POLLPRI != 0
}

// testStaleVerdict: a verdict about a file dies when the file has another name
// without having been touched, and one that was asked for before is not stored.
func testStaleVerdict(t *testing.T, w *world) {
	dir := t.TempDir()
	prog, link, other := filepath.Join(dir, "prog"), filepath.Join(dir, "link"), filepath.Join(dir, "other")
	exitProgram(t, prog)
	exitProgram(t, other)
	w.must(os.Link(prog, link))
	p := readerOf(event.HookExec, "file.path", false)
	p.Identities = []ir.Identity{{Name: "guarded", Paths: []string{prog}}}
	gen := w.enforce(p)
	mounts, err := os.Open("/proc/self/mountinfo")
	w.must(err)
	defer mounts.Close()
	run := func(path string, cached bool) *event.Event {
		t.Helper()
		_, err := w.run(path)
		ev := w.events(event.HookExec, 1)[0]
		if ev.Decision.Undecided && cached && mountsChanged(mounts) {
			t.Skip("somebody has mounted something, which drops all verdicts about files")
		}
		if ev.Decision.Undecided == cached || err != nil {
			t.Errorf("%s: %+v (%v), want cached %v", path, ev.Decision, err, cached)
		}
		return ev
	}
	remember := func(ev *event.Event) error { return w.k.Remember(gen, ev, event.VerdictAlert, false) }
	before := run(link, false)
	if before.File.Path != prog {
		t.Errorf("the link is %q, want the policy's name", before.File.Path)
	}
	w.must(remember(before))
	w.must(remember(run(other, false)))
	run(link, true)

	g := w.k.active.Load()
	from := (*g.history.Load())[0].from
	w.must(os.Rename(exitProgram(t, filepath.Join(dir, "new")), prog))
	w.rebound(func() {}, func(*binding) bool { return !g.still(from) })
	if err := remember(before); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an answer about the name that it had is stored: %v", err)
	}
	if ev := run(link, false); ev.File.Path != link {
		t.Errorf("the old link is %q now", ev.File.Path)
	}
	run(other, true) // nothing about it has changed
}

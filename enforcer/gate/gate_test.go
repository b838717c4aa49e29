package gate

import (
	"context"
	"debug/elf"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/aside"
)

// judge answers about every file on the test's own filesystem.
type judge struct {
	def    bool
	answer func(ctx context.Context) Answer
	asked  atomic.Int32
	done   chan Outcome
	waive  atomic.Bool
}

func (j *judge) Look(int, int32) Case             { return j }
func (j *judge) Default() bool                    { return j.def }
func (j *judge) Judge(ctx context.Context) Answer { j.asked.Add(1); return j.answer(ctx) }
func (j *judge) Waive(mark func() error) {
	if j.waive.Load() {
		_ = mark()
	}
}

func (j *judge) Barred() bool                      { return false }
func (j *judge) Done(o Outcome)                    { j.done <- o }
func always(a Answer) func(context.Context) Answer { return func(context.Context) Answer { return a } }
func never(release chan struct{}) func(context.Context) Answer {
	return func(context.Context) Answer { <-release; return Answer{Known: true, Allow: true} }
}

// newGate holds execs on a filesystem of the test's own; what is run there is a
// copy of a small program.
func newGate(t *testing.T, j *judge, o Options) (g *Gate, program string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		t.Skip("cannot mount:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	b, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Skip(err)
	}
	program = filepath.Join(dir, "true")
	if err := os.WriteFile(program, b, 0o755); err != nil {
		t.Fatal(err)
	}
	j.done = make(chan Outcome, 64)
	o.Judge, o.Mounts = j, []string{dir}
	if g, err = Open(o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	if err := g.Hold(true); err != nil {
		t.Fatal(err)
	}
	return g, program
}

func refused(t *testing.T, program string) bool {
	t.Helper()
	err := exec.Command(program).Run()
	if err != nil && !errors.Is(err, syscall.EPERM) {
		t.Fatal(err)
	}
	return err != nil
}

func TestAnswers(t *testing.T) {
	j := &judge{answer: always(Answer{Known: true, Allow: true})}
	g, program := newGate(t, j, Options{})
	if refused(t, program) {
		t.Error("refused")
	}
	j.answer = always(Answer{Known: true})
	if !refused(t, program) {
		t.Error("let pass")
	}
	if err := g.Hold(false); err != nil {
		t.Fatal(err)
	}
	if refused(t, program) {
		t.Error("refused without a mark")
	}
	if n := j.asked.Load(); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// TestDeadline: without an answer the declared default is given, whatever the
// judge does, and the breaker opens.
func TestDeadline(t *testing.T) {
	for _, def := range []bool{true, false} {
		release := make(chan struct{})
		j := &judge{def: def, answer: never(release)}
		told := make(chan bool, 4)
		g, program := newGate(t, j, Options{Deadline: 20 * time.Millisecond, Misses: 3, Rest: time.Hour, Breaker: func(open bool) { told <- open }})
		for range 3 {
			if refused(t, program) == def {
				t.Errorf("default %v was not given", def)
			}
			if o := <-j.done; o.Reason != ReasonDeadline || o.Allowed != def {
				t.Errorf("got %+v", o)
			}
		}
		if !<-told {
			t.Error("the breaker did not open")
		}
		if refused(t, program) == def {
			t.Errorf("default %v was not given by the breaker", def)
		}
		if o := <-j.done; o.Reason != ReasonBreaker {
			t.Errorf("got %+v", o)
		}
		if n := j.asked.Load(); n != 3 {
			t.Errorf("asked %d times, the breaker is open after 3", n)
		}
		close(release)
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestClose: who waits goes on when the gate is closed.
func TestClose(t *testing.T) {
	release, asked := make(chan struct{}), make(chan struct{}, 8)
	j := &judge{}
	j.answer = func(context.Context) Answer { asked <- struct{}{}; <-release; return Answer{} }
	g, program := newGate(t, j, Options{Deadline: time.Minute})
	ended := make(chan error, 1)
	cmd := exec.Command("/bin/sh", "-c", program)
	go func() { ended <- cmd.Run() }()
	<-asked
	go func() { close(release) }()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil && cmd.ProcessState.ExitCode() != 126 {
		t.Error(err)
	}
}

// TestLoader: a loader that is refused as a program still loads the programs
// that are let pass.
func TestLoader(t *testing.T) {
	fd, err := unix.Open("/bin/true", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skip(err)
	}
	defer unix.Close(fd)
	name := loaderOf(fd)
	if want := namedByELF(t, "/bin/true"); name != want {
		t.Errorf("the loader is %q, not %q", want, name)
	}
	if name == "" {
		t.Skip("/bin/true is static")
	}
	lfd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(lfd)
	l := loaders{max: 4, away: make(aside.Group, 1)}
	tid := int32(unix.Gettid())
	if l.is(t.Context(), tid, lfd) {
		t.Error("nothing was let pass before")
	}
	l.note(tid, fd)
	if !l.is(t.Context(), tid, lfd) {
		t.Error("the loader is not known")
	}
	if l.is(t.Context(), tid, lfd) {
		t.Error("it passes once")
	}
	l.note(tid, fd)
	if l.is(t.Context(), tid, fd) {
		t.Error("another file is not the loader")
	}
}

// namedByELF is what debug/elf reads of a program.
func namedByELF(t *testing.T, path string) string {
	t.Helper()
	f, err := elf.Open(path)
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			b, err := io.ReadAll(p.Open())
			if err != nil {
				t.Fatal(err)
			}
			return strings.TrimRight(string(b), "\x00")
		}
	}
	return ""
}

func TestCandidates(t *testing.T) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	list, err := candidates(f, nil, isServed)
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	for _, c := range list {
		if c.fs == "proc" || c.fs == "cgroup2" {
			t.Errorf("%+v holds no programs", c)
		}
	}
}

// TestWaived: about a file that was waived no question is put, until it is written to or all
// waivers are taken back.
func TestWaived(t *testing.T) {
	j := &judge{answer: always(Answer{Known: true, Allow: true}), done: make(chan Outcome, 1000)}
	j.waive.Store(true)
	g, program := newGate(t, j, Options{})
	run := func(asked bool) {
		t.Helper()
		before := j.asked.Load()
		if out, err := exec.Command(program).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got := j.asked.Load() != before; got != asked {
			t.Errorf("asked %v, want %v", got, asked)
		}
	}
	// waived: it is asked about, and some time later no more: the mark is placed when the
	// exec has been let go.
	waived := func() {
		t.Helper()
		run(true)
		for end := time.Now().Add(10 * time.Second); ; {
			before := j.asked.Load()
			if err := exec.Command(program).Run(); err != nil {
				t.Fatal(err)
			}
			if j.asked.Load() == before {
				break
			}
			if time.Now().After(end) {
				t.Fatal("asked each time")
			}
		}
		run(false)
	}
	waived()
	if err := g.Forget(); err != nil {
		t.Fatal(err)
	}
	waived()
	f, err := os.OpenFile(program, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	waived()
}

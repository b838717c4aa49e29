// Package given reads what a thread that waits in execve is about to give the new
// image: arguments and environment, out of its memory. The caller can change them
// until the kernel has copied them: whoever judges by them compares them with what
// the image got.
package given

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/aside"
	"example.com/bailiff/internal/event"
)

// Why nothing can be said.
var (
	ErrCall  = errors.New("the thread is in no execve that is known")
	ErrLarge = errors.New("it is given more than is looked at")
)

const (
	// Most is how many bytes of arguments, and of environment, are read: what the
	// kernel side looks at.
	Most = 128 << 10
	// maxAway is how many threads are read at a time: what is read may be on a
	// filesystem, or in memory, that somebody serves who does not answer.
	maxAway = 16
)

// Reader reads them.
type Reader struct{ away aside.Group }

// New returns a Reader.
func New() *Reader { return &Reader{away: make(aside.Group, maxAway)} }

// Of returns what thread tid gives the image of the file that the caller has open as
// fd, before ctx ends. For a script, and for its interpreter, it is what the kernel makes
// of it.
func (r *Reader) Of(ctx context.Context, fd int, tid int32, want event.GivenParts) (event.Given, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return event.Given{}, fmt.Errorf("read what an exec is given: %w", err)
	}
	f := os.NewFile(uintptr(own), "program")
	type answer struct {
		t   event.Given
		err error
	}
	out := make(chan answer, 1)
	if !r.away.Do(ctx, func() {
		defer f.Close()
		t, err := read(ctx, f, tid, want)
		out <- answer{t, err}
	}) {
		// What is open is closed by whoever comes back, or by the collector.
		return event.Given{}, fmt.Errorf("read what an exec is given: %w", ctx.Err())
	}
	a := <-out
	if a.err != nil {
		a.t.Close()
		return event.Given{}, fmt.Errorf("read what an exec is given: %w", a.err)
	}
	return a.t, nil
}

func read(ctx context.Context, f *os.File, tid int32, want event.GivenParts) (t event.Given, err error) {
	c, err := callOf(ctx, tid)
	if err != nil {
		return t, err
	}
	m := memory{tid: int(tid), word: c.word, pages: map[uint64][]byte{}}
	if want.Args || want.Script {
		if t, err = c.args(f, &m); err != nil {
			return t, err
		}
	}
	if !want.Args {
		t.Args, t.Origin = nil, nil
	}
	if !want.Script {
		t.Close()
		t.Script = nil
	}
	t.Scripts = want.Script
	if want.Env {
		vars, err := m.list(c.envp)
		if err != nil {
			return t, err
		}
		if t.Env, err = block(vars); err != nil {
			return t, err
		}
	}
	if want.Cwd {
		t.Cwd, err = os.OpenFile(fmt.Sprintf("/proc/%d/cwd", tid), unix.O_PATH|unix.O_DIRECTORY, 0)
	}
	return t, err
}

// block lays strings out as the kernel does.
func block(list [][]byte) ([]byte, error) {
	out := []byte{} // empty is not unknown
	for _, s := range list {
		out = append(append(out, s...), 0)
	}
	if len(out) > Most {
		return nil, ErrLarge
	}
	return out, nil
}

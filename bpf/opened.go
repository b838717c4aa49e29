package bpf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// Opened describes the files that each process which rules may touch has open, as
// if it opened them now: f is called with a process's acts, none if it has no file
// open, and the number of descriptors that could not be described, until it returns
// false. What no open leads to (sockets, pipes, memory) is left out. Processes and
// descriptors that end meanwhile are passed over.
func (k *Kernel) Opened(ctx context.Context, gen event.Generation, f func(acts []*event.Event, unknown int) bool) error {
	g := k.active.Load()
	if g == nil || g.number != uint32(gen) {
		return fmt.Errorf("look at open files: generation %d is not active", gen)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("look at open files: %w", err)
	}
	for _, e := range entries {
		pid, err := strconv.ParseInt(e.Name(), 10, 32)
		if err != nil {
			continue
		}
		if ctx.Err() != nil {
			return fmt.Errorf("look at open files: %w", ctx.Err())
		}
		if acts, unknown := k.openedBy(g, int32(pid)); !f(acts, unknown) {
			return nil
		}
	}
	return nil
}

// openedBy describes what one process has open. Should it end and its number be
// another's meanwhile, what is described is that one's: each answer is about who has
// the number when it is asked.
func (k *Kernel) openedBy(g *generation, pid int32) (acts []*event.Event, unknown int) {
	dir := "/proc/" + strconv.Itoa(int(pid)) + "/"
	fds, err := os.ReadDir(dir + "fd")
	if err != nil {
		return nil, 0
	}
	for _, e := range fds {
		name := dir + "fd/" + e.Name()
		flags, ok := openedHow(dir + "fdinfo/" + e.Name())
		if !ok {
			continue
		}
		if link, err := os.Readlink(name); err != nil || !strings.HasPrefix(link, "/") || strings.HasPrefix(link, "/memfd:") {
			continue
		}
		ev, touched, err := k.openedAs(g, name, pid)
		switch {
		case errors.Is(err, os.ErrNotExist): // closed, or the process has ended
		case err != nil:
			k.log.Debug("an open file cannot be described", "file", name, "error", err)
			unknown++
		case !touched:
			return nil, 0
		default:
			ev.Open = event.FlagNames(event.OpenFlags, flags)
			acts = append(acts, ev)
		}
	}
	return acts, unknown
}

// openedAs describes one descriptor; false if no rule may touch the process.
func (k *Kernel) openedAs(g *generation, name string, pid int32) (ev *event.Event, touched bool, err error) {
	// No open that any driver or hook would see.
	fd, err := unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false, fmt.Errorf("open descriptor: %w", err)
	}
	defer unix.Close(fd)
	slot := <-k.gate.slots
	defer func() { k.gate.slots <- slot }()
	if touched, err = k.gate.look(slot, g, fd, pid); err != nil || !touched {
		return nil, false, err
	}
	slot.r.Hook = uint8(event.HookOpen)
	ev, _ = k.gate.event(slot, g)
	return ev, true, nil
}

// openedHow reads the flags of a descriptor from /proc/PID/fdinfo, in the bits of
// event.OpenFlags; false if it is one that gives no access.
func openedHow(info string) (uint64, bool) {
	b, err := os.ReadFile(info)
	if err != nil {
		return 0, false
	}
	_, rest, _ := bytes.Cut(b, []byte("flags:\t"))
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	flags, err := strconv.ParseUint(string(line), 8, 64)
	if err != nil || flags&unix.O_PATH != 0 {
		return 0, false
	}
	var names []string
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		names = []string{"read"}
	case unix.O_WRONLY:
		names = []string{"write"}
	case unix.O_RDWR:
		names = []string{"read", "write"}
	}
	for name, bit := range map[string]uint64{"append": unix.O_APPEND, "directory": unix.O_DIRECTORY} {
		if flags&bit != 0 {
			names = append(names, name)
		}
	}
	return event.FlagMask(event.OpenFlags, names), true
}

package enforcer

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// Killer ends the process that a late verdict condemned.
type Killer interface {
	// Kill sends SIGKILL to the process if it is still the same one.
	Kill(p *event.Process) error
}

// ErrGone says that the process to be killed has ended, or that another one
// has its pid.
var ErrGone = errors.New("process is gone")

// PidfdKiller is the Killer of a running agent. A pid alone may belong to
// somebody else by now, so the process is held by a pidfd, its start time
// compared with the event's, and the signal sent through the pidfd.
type PidfdKiller struct{}

// clockTick is the unit of start times in /proc/pid/stat: USER_HZ is 100 on
// every architecture that we build for.
const clockTick = 10_000_000 // nanoseconds

// Kill implements Killer. It refuses pid 1 and the agent itself.
func (PidfdKiller) Kill(p *event.Process) error {
	pid := int(p.PID)
	if pid <= 1 || pid == os.Getpid() {
		return fmt.Errorf("kill process %d: refused", pid)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", pid, ErrGone)
	}
	if err != nil {
		return fmt.Errorf("open pidfd of %d: %w", pid, err)
	}
	defer unix.Close(fd)
	start, err := startTicks(pid)
	if err != nil {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	if start != p.Start/clockTick {
		return fmt.Errorf("kill process %d: %w", pid, ErrGone)
	}
	err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		err = ErrGone
	}
	if err != nil {
		return fmt.Errorf("kill process %d: %w", pid, err)
	}
	return nil
}

// startTicks reads when a process started: field 22 of /proc/pid/stat. The
// name in field 2 may hold anything, so fields are counted from its last ")".
func startTicks(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return 0, ErrGone
	}
	if err != nil {
		return 0, fmt.Errorf("read start time: %w", err)
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 20 {
		return 0, fmt.Errorf("read start time: %d fields after the name", len(f))
	}
	return strconv.ParseUint(string(f[19]), 10, 64)
}

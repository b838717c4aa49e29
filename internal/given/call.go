package given

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// call is an execve or execveat that a thread is in.
type call struct {
	word       int   // bytes of a pointer
	dir        int32 // of execveat
	at         bool  // it is execveat
	path       uint64
	argv, envp uint64
}

// numbers of the calls, by architecture: those of its own and, of 32 bits on amd64,
// those of i386. On amd64 11 is munmap, which executes nothing.
var numbers = map[string]map[int64]call{
	"amd64": {59: {word: 8}, 322: {word: 8, at: true}, 11: {word: 4}, 358: {word: 4, at: true}},
	"arm64": {221: {word: 8}, 281: {word: 8, at: true}},
}

const atCwd = -100 // AT_FDCWD

// callOf reads the call that a thread waits in: proc(5), /proc/pid/syscall. The kernel
// tells of its question a moment before the thread stands still.
func callOf(ctx context.Context, tid int32) (call, error) {
	for {
		b, err := os.ReadFile("/proc/" + strconv.Itoa(int(tid)) + "/syscall")
		if err != nil {
			return call{}, err
		}
		line := strings.TrimSpace(string(b))
		if line != "running" {
			return parseCall(runtime.GOARCH, line)
		}
		select {
		case <-ctx.Done():
			return call{}, fmt.Errorf("%w: it is running", ErrCall)
		case <-time.After(pause):
		}
	}
}

// pause is how long a thread is left alone that does not stand still yet.
const pause = 50 * time.Microsecond

func parseCall(arch, line string) (call, error) {
	f := strings.Fields(line)
	if len(f) < 7 {
		return call{}, fmt.Errorf("%w: %q", ErrCall, line)
	}
	nr, err := strconv.ParseInt(f[0], 10, 64)
	c, known := numbers[arch][nr]
	if err != nil || !known {
		return call{}, fmt.Errorf("%w: call %s", ErrCall, f[0])
	}
	var args [6]uint64
	for i := range args {
		if args[i], err = strconv.ParseUint(f[1+i], 0, 64); err != nil {
			return call{}, fmt.Errorf("%w: %q", ErrCall, line)
		}
		if c.word == 4 {
			args[i] &= 1<<32 - 1
		}
	}
	c.dir = atCwd
	rest := args[:]
	if c.at {
		c.dir, rest = int32(args[0]), args[1:]
	}
	c.path, c.argv, c.envp = rest[0], rest[1], rest[2]
	return c, nil
}

// name is what the kernel calls the file that is executed: what a script is given.
func (c *call) name(m *memory) (string, error) {
	path, err := m.text(c.path)
	switch {
	case err != nil:
		return "", err
	case !c.at || c.dir == atCwd || strings.HasPrefix(string(path), "/"):
		return string(path), nil
	case len(path) == 0:
		return fmt.Sprintf("/dev/fd/%d", c.dir), nil
	}
	return fmt.Sprintf("/dev/fd/%d/%s", c.dir, path), nil
}

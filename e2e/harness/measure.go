package harness

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// A measurement is the minimum of some rounds of so many operations. A round
// is shorter than the pause between two clock ticks, and than what the agent
// sleeps: the minimum is a round in which nothing else ran.
const (
	measureRounds = 200
	measureOps    = 50
	atCwd         = ^uintptr(99) // AT_FDCWD
)

// MeasureOpen opens and closes a file over and over and returns the least
// nanoseconds per operation. In a guest with ICount that is the number of
// instructions. An open that fails is measured too.
func MeasureOpen(path string, rounds int) (int64, error) {
	name, err := syscall.BytePtrFromString(path)
	if err != nil {
		return 0, err
	}
	best := int64(math.MaxInt64)
	for range rounds {
		start := time.Now()
		for range measureOps {
			// Raw system calls: the Go scheduler's share would be measured else.
			fd, _, errno := syscall.RawSyscall6(syscall.SYS_OPENAT, atCwd, uintptr(unsafe.Pointer(name)), syscall.O_RDONLY, 0, 0, 0)
			if errno == 0 {
				syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
			}
		}
		best = min(best, int64(time.Since(start))/measureOps)
	}
	return best, nil
}

// stepMeasure measures opening args[0], after it has been opened once, in
// args[1] rounds if that is given: an open that makes an event is to be measured
// while there is room for the event.
func stepMeasure(args []string) (string, error) {
	rounds := measureRounds
	if len(args) > 1 {
		var err error
		if rounds, err = strconv.Atoi(args[1]); err != nil {
			return "", err
		}
	}
	_ = tryOpen(args[0])
	n, err := MeasureOpen(args[0], rounds)
	return strconv.FormatInt(n, 10), err
}

// stepMeasureSpawn measures one fork, exec and exit: what a spawner of many
// (args[0]) takes more than a spawner of one (args[1]), shared among them.
func stepMeasureSpawn(args []string) (string, error) {
	many, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return "", err
	}
	rounds, err := strconv.Atoi(args[3])
	if err != nil {
		return "", err
	}
	var least [2]int64
	for i, spawner := range args[:2] {
		least[i] = math.MaxInt64
		for range rounds {
			start := time.Now()
			p, err := os.StartProcess(spawner, []string{spawner}, &os.ProcAttr{})
			if err != nil {
				return "", err
			}
			if s, err := p.Wait(); err != nil || !s.Success() {
				return "", fmt.Errorf("spawner: %v, %v", s, err)
			}
			least[i] = min(least[i], int64(time.Since(start)))
		}
	}
	return strconv.FormatInt((least[0]-least[1])/(many-1), 10), nil
}

// ReadMeasured reads the report of a measure step.
func ReadMeasured(o *Outcome) (int64, error) {
	if len(o.Steps) == 0 || o.Last() != 0 {
		return 0, fmt.Errorf("read report: there is none: %v", o)
	}
	return strconv.ParseInt(o.Steps[len(o.Steps)-1].Text, 10, 64)
}

package harness

import (
	"fmt"
	"math"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

// A measurement is the minimum of so many rounds of so many operations. A round
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
func MeasureOpen(path string) (int64, error) {
	name, err := syscall.BytePtrFromString(path)
	if err != nil {
		return 0, err
	}
	best := int64(math.MaxInt64)
	for range measureRounds {
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

// stepMeasure measures opening args[0], after it has been opened once.
func stepMeasure(args []string) (string, error) {
	_ = tryOpen(args[0])
	n, err := MeasureOpen(args[0])
	return strconv.FormatInt(n, 10), err
}

// ReadMeasured reads the report of a measure step.
func ReadMeasured(o *Outcome) (int64, error) {
	if len(o.Steps) == 0 || o.Last() != 0 {
		return 0, fmt.Errorf("read report: there is none: %v", o)
	}
	return strconv.ParseInt(o.Steps[len(o.Steps)-1].Text, 10, 64)
}

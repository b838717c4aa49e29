package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"
)

// trimMemory gives back what starting needed and running does not: garbage of
// the compiler, and pages of the program.
func trimMemory() error {
	debug.FreeOSMemory()
	return trimProgram()
}

// trimProgram gives back pages of the program, of which most were only executed
// once. The kernel brings a page back when it is needed.
func trimProgram() error {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return fmt.Errorf("read own mappings: %w", err)
	}
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		var mode string
		if n, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || n != 3 {
			continue
		}
		// Only what nobody can have written: a page that was is not the file's.
		if !strings.HasSuffix(strings.TrimSpace(line), exe) || mode != "r-xp" && mode != "r--p" {
			continue
		}
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("give back pages of the program: %w", errno)
		}
	}
	return nil
}

package harness

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// stepTTY becomes another program, in a session of its own that has a terminal.
func stepTTY(args []string) (string, error) {
	// It stays open across the exec: without master the terminal hangs up.
	master, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return "", fmt.Errorf("make terminal: %v", err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return "", fmt.Errorf("unlock terminal: %v", err)
	}
	n, err := unix.IoctlGetUint32(master, unix.TIOCGPTN)
	if err != nil {
		return "", fmt.Errorf("name terminal: %v", err)
	}
	if _, err := unix.Setsid(); err != nil {
		return "", fmt.Errorf("make session: %v", err)
	}
	// The first terminal that a session leader opens is the session's.
	if _, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
		return "", fmt.Errorf("open terminal: %v", err)
	}
	return stepExec(args)
}

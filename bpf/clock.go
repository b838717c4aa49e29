package bpf

import (
	"time"

	"golang.org/x/sys/unix"
)

// clockSlack is how far the kernel side's idea of the wall clock may be off:
// measuring it is not exact either.
const clockSlack = 50 * time.Millisecond

// wallOffset is the wall clock minus the time since boot. It changes when
// somebody sets the clock.
func wallOffset() time.Duration {
	return time.Duration(time.Now().UnixNano()) - time.Duration(sinceBoot())
}

// sinceBoot is the kernel's clock of records: nanoseconds after boot.
func sinceBoot() uint64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // there is no Linux where it fails
	return uint64(ts.Nano())
}

// followClock tells the kernel side when the wall clock was set.
func (k *Kernel) followClock() error {
	now := wallOffset()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed.Load() || (now-time.Duration(k.config.Wall)).Abs() < clockSlack {
		return nil
	}
	k.config.Wall = uint64(now)
	return k.writeConfig()
}

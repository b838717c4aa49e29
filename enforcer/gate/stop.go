package gate

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// event is an eventfd that goroutines poll for: once set it stays set.
type event struct{ fd int }

func newEvent() (*event, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return &event{fd}, err
}

func (e *event) set() {
	_, _ = unix.Write(e.fd, binary.NativeEndian.AppendUint64(nil, 1)) // cannot fail below 2^64-1
}

func (e *event) close() { unix.Close(e.fd) }

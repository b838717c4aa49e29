package digest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// measureVerity is FS_IOC_MEASURE_VERITY of linux/fsverity.h.
const measureVerity = 0xc0046686

// Algorithms of fs-verity by their number there, with the bytes that they give.
var algorithms = map[uint16]struct {
	name  string
	bytes int
}{1: {"sha256", 32}, 2: {"sha512", 64}}

// verityDigest is struct fsverity_digest with room for the longest.
type verityDigest struct {
	algorithm, size uint16
	sum             [64]byte
}

// Verity returns the fs-verity digest of the file that is open as fd, on a filesystem
// with that magic number, as the tools print it: the algorithm, a colon, lower-case
// hex. It is "" if the file has none. Nothing is read: the kernel has it since the
// file was opened. An error says that nobody knows whether there is one.
func Verity(fd int, magic uint64) (string, error) {
	// Its server would be asked, which answers what and when it likes.
	if magic == unix.FUSE_SUPER_MAGIC {
		return "", nil
	}
	d := verityDigest{size: uint16(len(verityDigest{}.sum))}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), measureVerity, uintptr(unsafe.Pointer(&d)))
	switch {
	case errno == 0:
		return d.text()
	case errors.Is(errno, unix.ENODATA), errors.Is(errno, unix.ENOTTY), errors.Is(errno, unix.EOPNOTSUPP):
		return "", nil // not of this file, of this filesystem, of this kernel
	}
	return "", fmt.Errorf("measure verity: %w", errno)
}

func (d *verityDigest) text() (string, error) {
	a, ok := algorithms[d.algorithm]
	if !ok || int(d.size) != a.bytes {
		return "", fmt.Errorf("measure verity: algorithm %d with %d bytes is not known", d.algorithm, d.size)
	}
	return a.name + ":" + hex.EncodeToString(d.sum[:a.bytes]), nil
}

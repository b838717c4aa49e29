// Package digest computes SHA-256 of programs that are about to run, such that
// what was read is what runs: while a file is read, and for a moment after,
// nobody can open it for writing (a read lease), and nobody has.
package digest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/aside"
)

// Why a file has no digest.
var (
	ErrOpen  = errors.New("it is open for writing")
	ErrLease = errors.New("its filesystem cannot keep writers out")
	ErrLarge = errors.New("it is too large")
)

const (
	// MaxSize is the largest file that is read: about a second.
	MaxSize = 1 << 30
	// keepOut is how long writers are kept out after an answer: until the exec
	// that waits for it keeps them out itself.
	keepOut = 50 * time.Millisecond
	// tick is more than the kernel's clock for change times can stand still.
	tick     = 50 * time.Millisecond
	maxKnown = 4096
	// maxReaders is how many files are read at a time.
	maxReaders = 16
)

// content says which content of a file a digest is of.
type content struct {
	dev, ino uint64
	size     int64
	ctime    unix.Timespec
}

// flight is one digest, or the computation of it.
type flight struct {
	done chan struct{}
	sum  string
	err  error
}

// Cache computes digests and remembers those of files of which the change time
// tells that they are the same.
type Cache struct {
	mu    sync.Mutex
	known map[content]*flight
	away  aside.Group // who reads files

	computed, failed atomic.Uint64
}

// stamps are the filesystems that note the time of a write through a mapping.
// Others (tmpfs) do not: their files are read each time.
var stamps = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true,
	unix.OVERLAYFS_SUPER_MAGIC: true, unix.SQUASHFS_MAGIC: true, unix.EROFS_SUPER_MAGIC_V1: true, unix.ISOFS_SUPER_MAGIC: true,
}

// New returns an empty one.
func New() *Cache { return &Cache{away: make(aside.Group, maxReaders)} }

// Of returns the SHA-256, in lower-case hex, of the file that is open for
// reading as fd, before ctx ends. What was begun goes on for the next who asks,
// where it can be remembered.
func (c *Cache) Of(ctx context.Context, fd int) (sum string, err error) {
	defer func() {
		if err != nil {
			c.failed.Add(1)
			err = fmt.Errorf("compute digest: %w", err)
		}
	}()
	// The lease belongs to the open file, and lasts as long as a descriptor.
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	f := os.NewFile(uintptr(own), "program")
	type answer struct {
		sum string
		err error
	}
	// Whoever asks has no time to wait for a large file, or for a filesystem that
	// does not answer.
	out := make(chan answer, 1)
	var taken atomic.Bool // the descriptor, by whoever closes it
	if !c.away.Do(ctx, func() {
		if taken.CompareAndSwap(false, true) {
			sum, err := c.of(ctx, f)
			out <- answer{sum, err}
		}
	}) {
		if taken.CompareAndSwap(false, true) {
			f.Close()
		}
		return "", ctx.Err()
	}
	a := <-out
	return a.sum, a.err
}

// of is Of for a descriptor that it closes.
func (c *Cache) of(ctx context.Context, f *os.File) (string, error) {
	own := int(f.Fd())
	if err := lease(own); err != nil {
		f.Close()
		return "", err
	}
	var st unix.Stat_t
	var fs unix.Statfs_t
	if err := errors.Join(unix.Fstat(own, &st), unix.Fstatfs(own, &fs)); err != nil {
		f.Close()
		return "", err
	}
	if st.Size > MaxSize {
		f.Close()
		return "", ErrLarge
	}
	if !stamps[int64(fs.Type)] || recent(st.Ctim) {
		sum, err := c.read(ctx, f)
		release(f)
		return sum, err
	}
	key := content{dev: st.Dev, ino: st.Ino, size: st.Size, ctime: st.Ctim}
	fl, mine := c.look(key)
	if !mine {
		defer release(f)
		select {
		case <-fl.done:
			return fl.sum, fl.err
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	fl.sum, fl.err = c.read(context.WithoutCancel(ctx), f)
	if fl.err != nil {
		c.mu.Lock()
		delete(c.known, key)
		c.mu.Unlock()
	}
	close(fl.done)
	release(f)
	return fl.sum, fl.err
}

// lease keeps writers out of an open file; none must have it open.
func lease(fd int) error {
	_, err := unix.FcntlInt(uintptr(fd), unix.F_SETLEASE, unix.F_RDLCK)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return ErrOpen
	case err != nil:
		return fmt.Errorf("%w: %w", ErrLease, err)
	}
	return nil
}

// release lets writers in again, when the exec has had time to keep them out.
func release(f *os.File) { time.AfterFunc(keepOut, func() { _ = f.Close() }) }

// recent reports whether a file that is changed once more could have the same
// change time: the clock for it stands still between ticks.
func recent(changed unix.Timespec) bool {
	return time.Since(time.Unix(changed.Unix())) < tick
}

// look returns what is known of a content; mine says that the caller is to
// compute it.
func (c *Cache) look(key content) (fl *flight, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if fl := c.known[key]; fl != nil {
		return fl, false
	}
	if c.known == nil {
		c.known = map[content]*flight{}
	}
	if len(c.known) >= maxKnown {
		for k := range c.known { // any other: it is read again
			delete(c.known, k)
			break
		}
	}
	fl = &flight{done: make(chan struct{})}
	c.known[key] = fl
	return fl, true
}

// read reads all of a file.
func (c *Cache) read(ctx context.Context, f *os.File) (string, error) {
	c.computed.Add(1)
	h := sha256.New()
	buf := make([]byte, 256<<10)
	for off := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := f.ReadAt(buf, off)
		h.Write(buf[:n])
		off += int64(n)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// Counters returns what was done, by name.
func (c *Cache) Counters() map[string]uint64 {
	return map[string]uint64{"digests_computed": c.computed.Load(), "digests_missing": c.failed.Load()}
}

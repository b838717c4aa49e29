package gate

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Requests of the FUSE protocol, as in linux/fuse.h.
const (
	fuseLookup  = 1
	fuseGetattr = 3
	fuseOpen    = 14
	fuseInit    = 26
)

// serveFUSE mounts a filesystem of which each name is a program, and whose server does not
// answer who opens one until release is closed.
func serveFUSE(t *testing.T, release chan struct{}) (dir string, opened chan struct{}) {
	t.Helper()
	dev, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skip("needs FUSE:", err)
	}
	dir = t.TempDir()
	if err := unix.Mount("served", dir, "fuse", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", dev.Fd())); err != nil {
		dev.Close()
		t.Skip("cannot mount:", err)
	}
	opened = make(chan struct{}, 16)
	t.Cleanup(func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		dev.Close()
	})
	le := binary.LittleEndian
	attr := func(b []byte, ino uint64) {
		mode := uint32(unix.S_IFREG | 0o755)
		if ino == 1 {
			mode = unix.S_IFDIR | 0o755
		}
		le.PutUint64(b, ino)
		le.PutUint64(b[8:], 4096)
		le.PutUint32(b[60:], mode)
		le.PutUint32(b[64:], 1) // links
	}
	fd := int(dev.Fd())
	reply := func(unique uint64, errno int32, body []byte) {
		b := make([]byte, 16, 16+len(body))
		le.PutUint32(b, uint32(16+len(body)))
		le.PutUint32(b[4:], uint32(-errno))
		le.PutUint64(b[8:], unique)
		_, _ = unix.Write(fd, append(b, body...))
	}
	go func() {
		buf := make([]byte, 1<<17)
		for {
			n, err := unix.Read(fd, buf)
			if err == unix.EINTR || err == unix.ENOENT {
				continue
			}
			if err != nil || n < 40 {
				return // it is not mounted any more
			}
			op, unique, ino := le.Uint32(buf[4:]), le.Uint64(buf[8:]), le.Uint64(buf[16:])
			switch op {
			case fuseInit:
				b := make([]byte, 64)
				le.PutUint32(b, 7)
				le.PutUint32(b[4:], 31)
				le.PutUint32(b[20:], 1<<16) // largest write
				reply(unique, 0, b)
			case fuseLookup:
				b := make([]byte, 40+88)
				le.PutUint64(b, 2)
				attr(b[40:], 2)
				reply(unique, 0, b)
			case fuseGetattr:
				b := make([]byte, 16+88)
				attr(b[16:], ino)
				reply(unique, 0, b)
			case fuseOpen:
				opened <- struct{}{}
				go func() {
					<-release
					reply(unique, int32(unix.EIO), nil)
				}()
			default:
				reply(unique, int32(unix.ENOSYS), nil)
			}
		}
	}()
	return dir, opened
}

// TestServed: whoever serves a filesystem himself, and does not answer, holds up
// nobody but who executes what is on it.
func TestServed(t *testing.T) { heldUp(t, isServed, isRemote) }

// TestFar: nor does the server of a network filesystem, of whose files the far group
// is asked: FUSE stands for one.
func TestFar(t *testing.T) {
	heldUp(t, func(string) bool { return false }, func(fs string) bool { return fs == "fuse" })
}

func heldUp(t *testing.T, never, far func(fs string) bool) {
	t.Helper()
	j := &judge{def: true, answer: always(Answer{Known: true, Allow: true})}
	g, program := newGate(t, j, Options{})
	release := make(chan struct{})
	dir, opened := serveFUSE(t, release)
	g.marks.mu.Lock()
	g.marks.only = append(g.marks.only, dir) // as if it had been asked for
	g.marks.isNever, g.marks.isFar = never, far
	err := g.marks.look()
	g.marks.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, readers+spares)
	for i := range readers + spares {
		go func() {
			// By a shell: a Go program starts one program at a time.
			ended <- exec.Command("/bin/sh", "-c", `exec "$0"`, filepath.Join(dir, fmt.Sprint("program", i))).Run()
		}()
	}
	for range readers {
		<-opened // by whoever executes it, or by a reader of questions
	}
	if refused(t, program) {
		t.Error("refused")
	}
	if o := <-j.done; !o.Allowed || o.Reason != "" {
		t.Errorf("the gate did not answer: %+v", o)
	}
	close(release)
	for range readers + spares {
		if err := <-ended; err == nil {
			t.Error("what cannot be opened was executed")
		}
	}
}

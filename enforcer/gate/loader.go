package gate

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// The kernel opens the loader of a dynamic program (ld.so) as it opens programs,
// and asks about it. It is no exec of its own: rules that refuse the loader as
// a program, and rules that refuse whatever they do not list, must not stop
// every dynamic program. So what a program names as its loader, right after it
// was let pass for a thread, passes for that thread, once. exec_check in the
// kernel is never called for it either.

const maxLoaders = 256

// loaders remembers for each thread the loader that it opens next.
type loaders struct {
	max int
	mu  sync.Mutex
	of  map[int32]string
}

// note is called before a program is let pass.
func (l *loaders) note(tid int32, fd int) {
	name := loaderOf(fd)
	l.mu.Lock()
	defer l.mu.Unlock()
	if name == "" {
		delete(l.of, tid)
		return
	}
	if len(l.of) >= l.max {
		clear(l.of) // threads that were killed meanwhile; the others' loaders are judged as programs
	}
	if l.of == nil {
		l.of = map[int32]string{}
	}
	l.of[tid] = name
}

// is reports whether the file is the loader of what the thread executes.
func (l *loaders) is(tid int32, fd int) bool {
	l.mu.Lock()
	name := l.of[tid]
	delete(l.of, tid)
	l.mu.Unlock()
	if name == "" {
		return false
	}
	var file, named unix.Stat_t
	// As the thread would find it; stat opens nothing.
	path := filepath.Join("/proc", strconv.Itoa(int(tid)), "root", name)
	return unix.Fstat(fd, &file) == nil && unix.Stat(path, &named) == nil && file.Dev == named.Dev && file.Ino == named.Ino
}

// loaderOf returns the interpreter that an ELF file names, "" if it names none.
func loaderOf(fd int) string {
	var head [4096]byte
	n, err := unix.Pread(fd, head[:], 0)
	if err != nil || n < 4 || string(head[:4]) != elf.ELFMAG {
		return ""
	}
	f, err := elf.NewFile(&prefix{fd: fd, head: head[:n]})
	if err != nil {
		return ""
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > unix.PathMax {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return ""
		}
		name, _, _ := bytes.Cut(b, []byte{0})
		return string(name)
	}
	return ""
}

// prefix reads a file of which the beginning is known already.
type prefix struct {
	fd   int
	head []byte
}

func (p *prefix) ReadAt(b []byte, off int64) (int, error) {
	if off >= 0 && off+int64(len(b)) <= int64(len(p.head)) {
		return copy(b, p.head[off:]), nil
	}
	n, err := unix.Pread(p.fd, b, off)
	if err == nil && n < len(b) {
		err = os.ErrInvalid
	}
	return max(n, 0), err
}

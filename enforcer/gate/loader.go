package gate

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/aside"
)

// The kernel opens the loader of a dynamic program (ld.so) as it opens programs,
// and asks about it. It is no exec of its own: rules that refuse the loader as
// a program, and rules that refuse whatever they do not list, must not stop
// every dynamic program. So what a program names as its loader, right after it
// was let pass for a thread, passes for that thread, once. exec_check in the
// kernel is never called for it either.

const (
	maxLoaders = 256
	maxAway    = 8 // threads that look for one at a time
)

// loaders remembers for each thread the loader that it opens next.
type loaders struct {
	max  int
	away aside.Group
	mu   sync.Mutex
	of   map[int32]string
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

// is reports whether the file is the loader of what the thread executes. It is not if
// that cannot be found out before ctx ends: the name may lead to where somebody
// serves files.
func (l *loaders) is(ctx context.Context, tid int32, fd int) bool {
	l.mu.Lock()
	name := l.of[tid]
	delete(l.of, tid)
	l.mu.Unlock()
	if name == "" {
		return false
	}
	var file unix.Stat_t
	if unix.Fstat(fd, &file) != nil {
		return false
	}
	same := make(chan bool, 1)
	l.away.Do(ctx, func() {
		var named unix.Stat_t
		// As the thread would find it; stat opens nothing.
		path := filepath.Join("/proc", strconv.Itoa(int(tid)), "root", name)
		same <- unix.Stat(path, &named) == nil && file.Dev == named.Dev && file.Ino == named.Ino
	})
	select {
	case is := <-same:
		return is
	default:
		return false
	}
}

// loaderOf returns the interpreter that an ELF file names, "" if it names none.
// debug/elf would read the sections too: this is on the way of each exec.
func loaderOf(fd int) string {
	var head [4096]byte
	n, err := unix.Pread(fd, head[:], 0)
	if err != nil || n < 64 || string(head[:4]) != elf.ELFMAG {
		return ""
	}
	var order binary.ByteOrder = binary.LittleEndian
	if elf.Data(head[elf.EI_DATA]) == elf.ELFDATA2MSB {
		order = binary.BigEndian
	}
	wide := elf.Class(head[elf.EI_CLASS]) == elf.ELFCLASS64
	at, size, num := uint64(order.Uint32(head[28:])), order.Uint16(head[42:]), order.Uint16(head[44:])
	if wide {
		at, size, num = order.Uint64(head[32:]), order.Uint16(head[54:]), order.Uint16(head[56:])
	}
	for i := range uint64(num) {
		var p [56]byte
		want := p[:32]
		if wide {
			want = p[:]
		}
		if !readAt(fd, head[:n], want, at+i*uint64(size)) {
			return ""
		}
		if elf.ProgType(order.Uint32(p[:])) != elf.PT_INTERP {
			continue
		}
		from, length := uint64(order.Uint32(p[4:])), uint64(order.Uint32(p[16:]))
		if wide {
			from, length = order.Uint64(p[8:]), order.Uint64(p[32:])
		}
		if length > unix.PathMax {
			return ""
		}
		name := make([]byte, length)
		if !readAt(fd, head[:n], name, from) {
			return ""
		}
		name, _, _ = bytes.Cut(name, []byte{0})
		return string(name)
	}
	return ""
}

// readAt fills b from a file of which the beginning is known already.
func readAt(fd int, head, b []byte, off uint64) bool {
	if end := off + uint64(len(b)); off <= end && end <= uint64(len(head)) {
		copy(b, head[off:])
		return true
	}
	n, err := unix.Pread(fd, b, int64(off))
	return err == nil && n == len(b)
}

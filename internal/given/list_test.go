package given

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// list is a list of strings as execve takes it, in memory that stays where it is.
type list struct {
	t    *testing.T
	room []byte
	used int
	at   uint64
}

func newList(t *testing.T, texts ...string) *list {
	t.Helper()
	room, err := unix.Mmap(-1, 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(room); err != nil {
			t.Error(err)
		}
	})
	l := &list{t: t, room: room}
	pointers := make([]uint64, 0, len(texts)+1)
	for _, s := range texts {
		pointers = append(pointers, l.text(s))
	}
	l.used = (l.used + 7) &^ 7
	l.at = l.addr()
	for _, p := range append(pointers, 0) {
		*(*uint64)(unsafe.Pointer(&room[l.used])) = p
		l.used += 8
	}
	return l
}

func (l *list) addr() uint64 { return uint64(uintptr(unsafe.Pointer(&l.room[l.used]))) }

// text puts a string into the memory and returns where.
func (l *list) text(s string) uint64 {
	at := l.addr()
	l.used += copy(l.room[l.used:], s) + 1
	return at
}

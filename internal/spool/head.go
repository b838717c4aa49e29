package spool

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// head is a page of memory that outlives the process, in which the number of
// the newest event stands before the event is queued: after kill -9 it says how
// many were queued and never written. It belongs on a tmpfs (/run): it is of no
// use after a reboot, and memory of a file on disk may have to wait for it.
type head struct {
	mem  []byte
	last *atomic.Uint64
}

// headState is what a former run has left.
type headState struct {
	boot       string
	base, last uint64 // last is a sequence number
}

const (
	headBytes = 4096
	headLast  = 128 // offset of the number, aligned for atomic access; what is before it never changes
)

// readHead returns what stands in the file, if it is of this directory.
func readHead(path string, dir unix.Stat_t) (headState, bool) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) != headBytes || string(b[:8]) != "BAILHED1" || sum(0, b[12:headLast]) != binary.LittleEndian.Uint32(b[8:]) {
		return headState{}, false
	}
	if binary.LittleEndian.Uint64(b[16:]) != dir.Dev || binary.LittleEndian.Uint64(b[24:]) != dir.Ino {
		return headState{}, false
	}
	return headState{
		boot: text(b[40:84]),
		base: binary.LittleEndian.Uint64(b[32:]), last: binary.NativeEndian.Uint64(b[headLast:]),
	}, true
}

// newHead makes the file anew. The old one is replaced, not changed: it may
// still be somebody's evidence until then.
func newHead(path string, dir unix.Stat_t, run runEntry, last uint64) (*head, error) {
	b := make([]byte, headBytes)
	copy(b, "BAILHED1")
	binary.LittleEndian.PutUint64(b[16:], dir.Dev)
	binary.LittleEndian.PutUint64(b[24:], dir.Ino)
	binary.LittleEndian.PutUint64(b[32:], run.base)
	binary.NativeEndian.PutUint64(b[headLast:], last)
	putText(b[40:84], run.Boot)
	binary.LittleEndian.PutUint32(b[8:], sum(0, b[12:headLast]))
	// Written, not only sized: a page that has no block yet could fault when
	// the disk is full.
	if err := replaceFile(path, b); err != nil {
		return nil, fmt.Errorf("make head: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open head: %w", err)
	}
	defer f.Close()
	mem, err := unix.Mmap(int(f.Fd()), 0, headBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map head: %w", err)
	}
	return &head{mem: mem, last: (*atomic.Uint64)(unsafe.Pointer(&mem[headLast]))}, nil
}

// set stores the number of the newest event. False: the page is gone (somebody
// cut the file, or its disk fails); the agent must not die of that.
func (h *head) set(seq uint64) (ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		ok = recover() == nil
	}()
	h.last.Store(seq)
	return true
}

func (h *head) close() {
	_ = unix.Munmap(h.mem)
	h.last = nil
}

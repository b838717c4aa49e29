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
	mem []byte
	at  *atomic.Uint64 // which of slots counts
	// slots hold a number and how many up to it are notices: one is written
	// while the other counts, so that no half-written pair is ever read.
	slots [2][2]*atomic.Uint64
}

// headState is what a former run has left.
type headState struct {
	boot, run     string
	base          uint64
	last, notices uint64 // sequence number, and how many up to it are not acts
}

const (
	headBytes = 4096
	headFixed = 128 // what is before it never changes; words behind it are aligned for atomic access
	headSlots = 192 // two of 64 bytes
)

// readHead returns what stands in the file, if it is of this directory.
func readHead(path string, dir unix.Stat_t) (headState, bool) {
	b, err := os.ReadFile(path)
	if err != nil || len(b) != headBytes || string(b[:8]) != "BAILHED2" || sum(0, b[12:headFixed]) != binary.LittleEndian.Uint32(b[8:]) {
		return headState{}, false
	}
	if binary.LittleEndian.Uint64(b[16:]) != dir.Dev || binary.LittleEndian.Uint64(b[24:]) != dir.Ino {
		return headState{}, false
	}
	slot := b[headSlots+64*(binary.NativeEndian.Uint64(b[headFixed:])&1):]
	return headState{
		boot: text(b[40:84]), run: text(b[84:headFixed]), base: binary.LittleEndian.Uint64(b[32:]),
		last: binary.NativeEndian.Uint64(slot), notices: binary.NativeEndian.Uint64(slot[8:]),
	}, true
}

// newHead makes the file anew. The old one is replaced, not changed: it may
// still be somebody's evidence until then.
func newHead(path string, dir unix.Stat_t, run runEntry) (*head, error) {
	b := make([]byte, headBytes)
	copy(b, "BAILHED2")
	binary.LittleEndian.PutUint64(b[16:], dir.Dev)
	binary.LittleEndian.PutUint64(b[24:], dir.Ino)
	binary.LittleEndian.PutUint64(b[32:], run.base)
	putText(b[40:84], run.Boot)
	putText(b[84:headFixed], run.ID)
	binary.LittleEndian.PutUint32(b[8:], sum(0, b[12:headFixed]))
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
	word := func(at int) *atomic.Uint64 { return (*atomic.Uint64)(unsafe.Pointer(&mem[at])) }
	return &head{mem: mem, at: word(headFixed), slots: [2][2]*atomic.Uint64{
		{word(headSlots), word(headSlots + 8)}, {word(headSlots + 64), word(headSlots + 72)},
	}}, nil
}

// set stores the number of the newest event, and how many up to it are notices. False: the page is gone (somebody
// cut the file, or its disk fails); the agent must not die of that.
func (h *head) set(seq, notices uint64) (ok bool) {
	old := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(old)
		ok = recover() == nil
	}()
	to := 1 - h.at.Load()&1
	h.slots[to][0].Store(seq)
	h.slots[to][1].Store(notices)
	h.at.Store(to)
	return true
}

func (h *head) close() {
	_ = unix.Munmap(h.mem)
	h.at = nil
}

package harness

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of the io_uring interface (linux/io_uring.h).
const (
	ringOpOpenat  = 18
	ringFlagAsync = 1 << 4 // IOSQE_ASYNC: done by a worker thread
	ringWaitDone  = 1      // IORING_ENTER_GETEVENTS
	ringOffSqes   = 0x10000000
	sqeSize       = 64
)

// ringParams is struct io_uring_params.
type ringParams struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, wqFD uint32
	_                                                                  [3]uint32
	sq                                                                 struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

// stepOpenByRing opens args[0] by io_uring, in a worker thread of the kernel.
func stepOpenByRing(args []string) (string, error) {
	var p ringParams
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return "", fmt.Errorf("set up io_uring: %v", errno)
	}
	// One mapping holds both rings (IORING_FEAT_SINGLE_MMAP, since 5.4).
	size := max(int(p.sq.array)+4*int(p.sqEntries), int(p.cq.cqes)+16*int(p.cqEntries))
	ring, err := unix.Mmap(int(fd), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return "", fmt.Errorf("map ring: %v", err)
	}
	sqes, err := unix.Mmap(int(fd), ringOffSqes, sqeSize*int(p.sqEntries), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return "", fmt.Errorf("map entries: %v", err)
	}
	path, err := unix.BytePtrFromString(args[0])
	if err != nil {
		return "", err
	}
	sqe := unsafe.Pointer(&sqes[0])
	*(*uint8)(sqe) = ringOpOpenat
	*(*uint8)(unsafe.Add(sqe, 1)) = ringFlagAsync
	*(*int32)(unsafe.Add(sqe, 4)) = unix.AT_FDCWD
	*(*uint64)(unsafe.Add(sqe, 16)) = uint64(uintptr(unsafe.Pointer(path)))
	*(*uint32)(unsafe.Add(sqe, 28)) = unix.O_RDONLY
	at := func(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&ring[off])) }
	*at(p.sq.array) = 0
	*at(p.sq.tail)++
	// The system call is the barrier that publishes the entry.
	if _, _, errno = unix.Syscall6(unix.SYS_IO_URING_ENTER, fd, 1, 1, ringWaitDone, 0, 0); errno != 0 {
		return "", fmt.Errorf("enter io_uring: %v", errno)
	}
	runtime.KeepAlive(path)
	if *at(p.cq.tail) == *at(p.cq.head) {
		return "", fmt.Errorf("io_uring has no answer")
	}
	res := *(*int32)(unsafe.Pointer(&ring[p.cq.cqes+8]))
	if res < 0 {
		return "", unix.Errno(-res)
	}
	unix.Close(int(res))
	return "", nil
}

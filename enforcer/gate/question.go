package gate

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// question is one exec that waits.
type question struct {
	g     *Gate
	group *group
	fd    int
	tid   int32
	c     Case

	answered atomic.Bool
	replaced atomic.Bool
	done     chan struct{} // closed by giveUp, when the default has been given
}

// read takes one question out of the queue: the buffer has room for no more, so
// that each worker has one at a time.
func (g *Gate) read(gr *group) (*question, error) {
	var m unix.FanotifyEventMetadata
	b := unsafe.Slice((*byte)(unsafe.Pointer(&m)), unsafe.Sizeof(m))
	n, err := unix.Read(gr.fd, b)
	if err != nil {
		return nil, fmt.Errorf("read question: %w", err)
	}
	if n < len(b) || m.Vers != unix.FANOTIFY_METADATA_VERSION {
		return nil, fmt.Errorf("read question: %d bytes, version %d", n, m.Vers)
	}
	if m.Mask&unix.FAN_OPEN_EXEC_PERM == 0 || m.Fd < 0 {
		return nil, fmt.Errorf("read question: mask %#x, descriptor %d", m.Mask, m.Fd)
	}
	return &question{g: g, group: gr, fd: int(m.Fd), tid: m.Pid, done: make(chan struct{})}, nil
}

// answer tells the kernel, once; false if that was done before.
func (q *question) answer(allow bool) bool {
	if !q.answered.CompareAndSwap(false, true) {
		return false
	}
	r := unix.FanotifyResponse{Fd: int32(q.fd), Response: unix.FAN_DENY}
	if allow {
		r.Response = unix.FAN_ALLOW
	}
	q.g.mu.Lock()
	defer q.g.mu.Unlock()
	if q.g.closed {
		return true // the kernel has let it go
	}
	if _, err := unix.Write(q.group.fd, unsafe.Slice((*byte)(unsafe.Pointer(&r)), unsafe.Sizeof(r))); err != nil {
		// The thread was killed while it waited.
		q.g.count.add(cntGone)
	}
	return true
}

// waive marks the file so that no question is put about it. The mark goes when the
// file is written to, and with its inode when that leaves memory.
func (q *question) waive() error {
	q.g.mu.Lock()
	defer q.g.mu.Unlock()
	if q.g.closed {
		return nil
	}
	return unix.FanotifyMark(q.group.fd, unix.FAN_MARK_ADD|unix.FAN_MARK_IGNORED_MASK|unix.FAN_MARK_EVICTABLE, execPerm, q.fd, "")
}

// settle gives the Judge's answer.
func (q *question) settle(allow, loader bool) {
	if !q.answer(allow) {
		return
	}
	switch {
	case loader:
		q.g.count.add(cntLoaders)
	case allow:
		q.g.count.add(cntAllowed)
	default:
		q.g.count.add(cntDenied)
	}
	q.c.Done(Outcome{Allowed: allow, Loader: loader})
}

// giveUp gives the default; false if there was an answer already.
func (q *question) giveUp(reason string, which counter) bool {
	allow := q.c.Default()
	if !q.answer(allow) {
		return false
	}
	q.g.count.add(which)
	close(q.done)
	q.c.Done(Outcome{Allowed: allow, Reason: reason})
	return true
}

// waitGivenUp is for a worker whose timer has fired: it waits until the default
// has been given, and reports whether it was.
func (q *question) waitGivenUp() bool {
	<-q.done
	return true
}

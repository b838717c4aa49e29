package gate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/aside"
)

// Options say how a gate works; zero means the default that is named.
type Options struct {
	Judge    Judge
	Mounts   []string      // where execs are held, by mount point; none: wherever programs can be
	Deadline time.Duration // from reading a question to giving the default; default 250 ms
	Misses   int           // so many in a row open the breaker; default 5
	Rest     time.Duration // how long the breaker stays open; default 10 s
	// Breaker is told when the breaker opens and closes again. Uncovered is
	// told which filesystems could not be marked, "" when all could.
	Breaker   func(open bool)
	Uncovered func(why string)
	Log       hclog.Logger
}

// readers is how many goroutines answer at a time while all goes well, spares
// how many more may take the place of those that do not come back.
const (
	readers = 2
	spares  = 6
)

// Gate is an open gate. It holds nothing until Hold says so.
type Gate struct {
	Options
	log   hclog.Logger
	near  *group
	far   *group // of network filesystems
	stop  *event // ends readers and the watch on mounts
	pid   int
	marks marks
	count counters
	state breaker
	load  loaders

	mu     sync.Mutex // against Close while a late timer answers
	closed bool
	wg     sync.WaitGroup
}

// group is a fanotify group with workers of its own. To read a question the kernel
// opens the file for us, before any deadline can run: a server that does not answer
// holds up the workers of its group, and nobody else's.
type group struct {
	fd      int
	workers atomic.Int32
}

// Open makes the group. It needs CAP_SYS_ADMIN and a kernel with
// CONFIG_FANOTIFY_ACCESS_PERMISSIONS.
func Open(o Options) (*Gate, error) {
	if o.Judge == nil {
		return nil, errors.New("open gate: no judge")
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Deadline <= 0 {
		o.Deadline = 250 * time.Millisecond
	}
	if o.Misses <= 0 {
		o.Misses = 5
	}
	if o.Rest <= 0 {
		o.Rest = 10 * time.Second
	}
	near, err := newGroup()
	if err != nil {
		return nil, fmt.Errorf("open gate: %w", err)
	}
	far, err := newGroup()
	if err != nil {
		unix.Close(near.fd)
		return nil, fmt.Errorf("open gate: %w", err)
	}
	stop, err := newEvent()
	if err != nil {
		unix.Close(near.fd)
		unix.Close(far.fd)
		return nil, fmt.Errorf("open gate: %w", err)
	}
	g := &Gate{Options: o, log: o.Log, near: near, far: far, stop: stop, pid: unix.Getpid()}
	g.state = breaker{limit: o.Misses, rest: o.Rest, tell: o.Breaker, count: func() { g.count.add(cntOpened) }}
	g.marks = marks{near: near.fd, far: far.fd, isFar: isRemote, isNever: isServed, only: o.Mounts, tell: o.Uncovered, log: g.log}
	g.load = loaders{max: maxLoaders, away: make(aside.Group, maxAway)}
	for range readers {
		g.start(near)
		g.start(far)
	}
	g.wg.Go(func() { g.marks.follow(stop) })
	return g, nil
}

func newGroup() (*group, error) {
	// The queue is unlimited: when a limited one is full the kernel lets execs
	// pass without a word. What waits in it is one thread each, all of them
	// blocked, so it cannot grow beyond the number of threads.
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK|
		unix.FAN_UNLIMITED_QUEUE|unix.FAN_UNLIMITED_MARKS|unix.FAN_REPORT_TID, unix.O_RDONLY|unix.O_LARGEFILE|unix.O_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &group{fd: fd}, nil
}

// Hold places the marks, or takes them away: no exec is held without any.
func (g *Gate) Hold(on bool) error { return g.marks.hold(on) }

// Close lets every exec go that waits, and waits for the workers, but not for a
// Judge that does not come back. It may be called twice.
func (g *Gate) Close() error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.stop.set()
	g.closed = true
	err := errors.Join(unix.Close(g.near.fd), unix.Close(g.far.fd)) // from here on nothing is held
	g.mu.Unlock()
	ended := make(chan struct{})
	go func() { g.wg.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(4 * g.Deadline):
		return errors.Join(err, errors.New("close gate: a judgement does not end"))
	}
	g.stop.close()
	return err
}

// Forget has the gate asked again about each file.
func (g *Gate) Forget() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	// Those on inodes; the ones on filesystems stay.
	return errors.Join(unix.FanotifyMark(g.near.fd, unix.FAN_MARK_FLUSH, 0, unix.AT_FDCWD, ""),
		unix.FanotifyMark(g.far.fd, unix.FAN_MARK_FLUSH, 0, unix.AT_FDCWD, ""))
}

func (g *Gate) start(gr *group) {
	gr.workers.Add(1)
	g.wg.Go(func() {
		defer gr.workers.Add(-1)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		g.work(gr)
	})
}

// work reads and answers one question after the other, until the gate is closed
// or somebody else has taken this worker's place.
func (g *Gate) work(gr *group) {
	w, err := g.waiter(gr)
	if err != nil {
		g.log.Error("gate cannot wait for questions", "error", err)
		return
	}
	defer unix.Close(w)
	var got [2]unix.EpollEvent
	for {
		n, err := unix.EpollWait(w, got[:], -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			g.log.Error("gate cannot wait for questions", "error", err)
			return
		}
		for i := range max(n, 0) {
			if got[i].Fd == int32(g.stop.fd) {
				return
			}
		}
		if n <= 0 {
			continue
		}
		q, err := g.read(gr)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR): // another worker has it
		case err != nil:
			// The kernel could not give us the file: it has refused the exec.
			g.count.add(cntUnread)
			g.log.Debug("gate cannot read a question", "error", err)
		case !g.handle(q):
			return
		}
	}
}

// waiter makes what one worker waits with: of those who wait a question wakes
// one only. A worker that is busy is passed over.
func (g *Gate) waiter(gr *group) (int, error) {
	w, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return -1, err
	}
	for fd, events := range map[int]uint32{gr.fd: unix.EPOLLIN | unix.EPOLLEXCLUSIVE, g.stop.fd: unix.EPOLLIN} {
		if err := unix.EpollCtl(w, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
			unix.Close(w)
			return -1, err
		}
	}
	return w, nil
}

// handle answers one question; false says that the worker has been replaced.
func (g *Gate) handle(q *question) bool {
	defer unix.Close(q.fd)
	g.count.add(cntQuestions)
	if g.own(q.tid) {
		g.count.add(cntOwn)
		q.answer(true)
		return true
	}
	c := g.Judge.Look(q.fd, q.tid)
	if c == nil {
		g.count.add(cntPassed)
		q.answer(true)
		return true
	}
	q.c = c
	if !g.state.ask() {
		q.giveUp(ReasonBreaker, cntBreaker)
		return true
	}
	return g.judge(q)
}

// judge asks, within the deadline.
func (g *Gate) judge(q *question) bool {
	ctx, cancel := context.WithTimeout(context.Background(), g.Deadline)
	defer cancel()
	timer := time.AfterFunc(g.Deadline, func() {
		if !q.giveUp(ReasonDeadline, cntDeadline) {
			return
		}
		if !q.c.Barred() {
			g.state.missed()
		}
		// This worker may never come back.
		if q.group.workers.Load() < readers+spares {
			q.replaced.Store(true)
			g.start(q.group)
		}
	})
	a := q.c.Judge(ctx)
	inTime := timer.Stop()
	switch {
	case !inTime && q.waitGivenUp():
		g.count.add(cntLate)
	case !a.Known && a.Barred:
		g.state.hit()
		q.giveUp(ReasonFile, cntFile)
	case !a.Known:
		g.state.missed()
		q.giveUp(ReasonError, cntErrors)
	case a.Allow:
		g.load.note(q.tid, q.fd)
		g.state.hit()
		q.settle(true, false)
		q.c.Waive(q.waive)
	case g.load.is(ctx, q.tid, q.fd):
		g.state.hit()
		q.settle(true, true)
	default:
		g.state.hit()
		q.settle(false, false)
	}
	return !q.replaced.Load()
}

// own reports whether a thread is the agent's.
func (g *Gate) own(tid int32) bool {
	return unix.Tgkill(g.pid, int(tid), 0) == nil
}

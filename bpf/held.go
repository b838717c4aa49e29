package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// Flags of a process context, as in subject.h.
const (
	procScope  = 1
	procRescue = 2
)

const examineSlots = 16 // at most EXAMINED in wire.h

// gateSide is what the kernel side keeps for execs that wait at the gate. Its
// facts come from the same places as those of the hooks: file and thread from
// descriptors in kernel terms, the process from its task storage.
type gateSide struct {
	k     *Kernel
	slots chan *gateSlot
	free  chan *decoder

	tickets tickets
}

// gateSlot is what one exec at a time is described in.
type gateSlot struct {
	number uint32 // of the examine program
	proc   kernelProc
	x      kernelExamined
	r      kernelRecord
}

const gateDecoders = 4

func newGateSide(k *Kernel) (*gateSide, error) {
	g := &gateSide{k: k, slots: make(chan *gateSlot, examineSlots), free: make(chan *decoder, gateDecoders)}
	for i := range uint32(examineSlots) {
		g.slots <- &gateSlot{number: i}
	}
	for range gateDecoders {
		d, err := newDecoder(k)
		if err != nil {
			return nil, err
		}
		g.free <- d
	}
	return g, nil
}

func (g *gateSide) close() {
	for range gateDecoders {
		(<-g.free).cgroups.close()
	}
}

// heldHandle is what RememberHeld needs of an act at the gate.
type heldHandle struct {
	key    heldKey
	keyed  bool
	ticket kernelTicketKey
	bound  uint32 // binding that gave the file its names
	given  given
	stored bool // the kernel has the verdict, under its key
}

// given is what the answer about an exec has read of its caller.
type given struct {
	parts  uint32 // keyArgs, keyEnv
	sum    uint64
	origin uint64 // of what the call was given
}

// heldKey is the decision key of held rules with what the file's content is.
type heldKey struct {
	key kernelVerdictKey
	of  kernelValidity
}

// AtGate describes an exec that waits: thread tid is about to execute the file
// that the caller has open as fd. The event is nil for processes that no rule
// may touch (not in scope, rescue set). key is equal for acts that share a
// verdict; nil when this act shares it with none.
func (k *Kernel) AtGate(gen event.Generation, fd int, tid int32) (ev *event.Event, key any, err error) {
	g := k.active.Load()
	if g == nil || g.number != uint32(gen) {
		return nil, nil, fmt.Errorf("describe exec: generation %d is not active", gen)
	}
	slot := <-k.gate.slots
	defer func() { k.gate.slots <- slot }()
	touched, err := k.gate.look(slot, g, fd, tid)
	if err != nil || !touched {
		return nil, nil, err
	}
	r := &slot.r
	r.Hook = uint8(event.HookExec)
	h := &heldHandle{ticket: kernelTicketKey{ExecId: r.Subject.ExecId, Generation: g.number, File: r.File.Id}}
	h.key.of = slot.x.Of
	if parts := g.tables.conf[event.HookExec-1].HeldKey; parts&keyNone == 0 {
		if vk := verdictKey(r, parts, slot.path(), k.config.Secret); vk != nil {
			h.keyed, h.key.key = parts&keyGiven == 0, *vk
			key = h.key
		}
	}
	ev, h.bound = k.gate.event(slot, g)
	ev.Process.Stdio = stdioNames[slot.x.Stdio%uint32(len(stdioNames))]
	ev.Handle = h
	return ev, key, nil
}

// look describes in the slot a file that the caller has open as fd, and thread tid,
// that acts on it; false if no rule may touch that.
func (g *gateSide) look(slot *gateSlot, gen *generation, fd int, tid int32) (bool, error) {
	pid := tid
	pidfd, err := unix.PidfdOpen(int(tid), 0)
	if err != nil { // it does not lead its process
		if pid, err = leaderOf(tid); err != nil {
			return false, err
		}
		if pidfd, err = unix.PidfdOpen(int(pid), 0); err != nil {
			return false, fmt.Errorf("open process %d: %w", pid, err)
		}
	}
	defer unix.Close(pidfd)
	p, x, r := &slot.proc, &slot.x, &slot.r
	if err := g.k.coll.Maps["procs"].Lookup(uint32(pidfd), p); err != nil {
		return false, fmt.Errorf("read context of process %d: %w", pid, err)
	}
	if p.Flags&procScope == 0 || p.Flags&procRescue != 0 {
		return false, nil
	}
	if err := g.examine(x, kernelExamineOf{Fd: uint32(fd), Slot: slot.number, Pidfd: uint32(pidfd), Tid: uint32(tid)}); err != nil {
		return false, err
	}
	if x.Who.Tid != uint32(tid) {
		return false, fmt.Errorf("look at thread %d: it is not among those of process %d", tid, pid)
	}
	r.Subject = x.Who
	s := &r.Subject
	s.ExecId, s.ParentExecId, s.Start, s.Cgroup = p.ExecId, p.ParentExecId, p.Start, p.Cgroup
	s.ExeId, s.ParentExeId, s.Ancestors, s.Ancestor = p.ExeId, p.ParentExeId, p.Ancestors, p.Ancestor
	r.Generation, r.File = gen.number, x.File
	return true, nil
}

// path is the file's.
func (s *gateSlot) path() []byte {
	return rawChars(s.x.Path[:min(int(s.x.File.PathLen), len(s.x.Path))])
}

// event is what look found, as an act of the hook that the record names; and the
// binding that gave the file its names.
func (g *gateSide) event(slot *gateSlot, gen *generation) (ev *event.Event, bound uint32) {
	d := <-g.free
	defer func() { g.free <- d }()
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	ev = &event.Event{Hook: event.Hook(slot.r.Hook), Boot: uint64(now.Nano()), Time: time.Now()}
	d.bind(gen, 0)
	ev.Process = d.process(&slot.r.Subject, gen)
	ev.FileAge = slot.x.Age
	ev.File = d.file(&slot.x.File, slot.path(), gen)
	ev.Decision = event.Decision{Generation: gen.number}
	return ev, d.bound.from
}

// RememberHeld stores a verdict about an act at the gate where the hook will
// look for it: under its key, or for this one exec.
func (k *Kernel) RememberHeld(gen event.Generation, ev *event.Event, v event.Verdict, enforced bool) error {
	h, ok := ev.Handle.(*heldHandle)
	if !ok || h.ticket.Generation != uint32(gen) {
		return fmt.Errorf("remember held verdict: %w", errors.ErrUnsupported)
	}
	value := kernelHeldVerdict{Verdict: uint32(v), Of: h.key.of, Texts: h.given.parts, Sum: h.given.sum, Origin: h.given.origin}
	if enforced {
		value.Verdict |= verdictEnforced
	}
	if h.keyed {
		err := k.coll.Maps["held"].Put(&h.key.key, &value)
		if err == nil {
			if active := k.active.Load(); active != nil && active.number == uint32(gen) && active.still(h.bound) {
				h.stored = true
				return nil
			}
			// The file may have other names by now: what was bound anew since has
			// not seen this answer. It counts for this exec only.
			err = k.coll.Maps["held"].Delete(&h.key.key)
		} else if errors.Is(err, unix.E2BIG) {
			k.heldFull.Add(1) // one exec at a time, then
			err = nil
		}
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return wrapRemember(err)
		}
	}
	if err := k.gate.tickets.put(k.coll.Maps["tickets"], h.ticket, &value); err != nil {
		return wrapRemember(err)
	}
	return nil
}

func wrapRemember(err error) error {
	if err != nil {
		return fmt.Errorf("remember held verdict: %w", err)
	}
	return nil
}

// examine asks the kernel about an open file and who is about to execute it.
func (g *gateSide) examine(x *kernelExamined, of kernelExamineOf) error {
	ret, err := g.k.coll.Programs["examine"].Run(&ebpf.RunOptions{Context: &of})
	if err != nil {
		return fmt.Errorf("examine file: %w", err)
	}
	if ret != 0 {
		return fmt.Errorf("examine file: %w", unix.EBADF)
	}
	if err := g.k.coll.Maps["files_examined"].Lookup(of.Slot, x); err != nil {
		return fmt.Errorf("read facts of file: %w", err)
	}
	return nil
}

// leaderOf returns the process of a thread.
func leaderOf(tid int32) (int32, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(tid)) + "/status")
	if err != nil {
		return 0, fmt.Errorf("read status of thread %d: %w", tid, err)
	}
	_, rest, _ := bytes.Cut(b, []byte("\nTgid:\t"))
	line, _, _ := bytes.Cut(rest, []byte{'\n'})
	pid, err := strconv.ParseInt(string(line), 10, 32)
	if err != nil {
		return 0, fmt.Errorf("read status of thread %d: no Tgid", tid)
	}
	return int32(pid), nil
}

package bpf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
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

const examineSlots = 64

// gateSide is what the kernel side keeps for execs that wait at the gate. Its
// facts come from the same places as those of the hooks: the file from its
// descriptor in kernel terms, the process from its task storage; what is left
// from /proc, of a thread that stands still while it waits.
type gateSide struct {
	k     *Kernel
	slots chan uint32 // of the examine program
	free  chan *decoder

	tickets tickets
}

const gateDecoders = 4

func newGateSide(k *Kernel) (*gateSide, error) {
	g := &gateSide{k: k, slots: make(chan uint32, examineSlots), free: make(chan *decoder, gateDecoders)}
	for i := range uint32(examineSlots) {
		g.slots <- i
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
	who    kernelWireSubject
	had    gateNeeds // of who
}

// heldKey is the decision key of held rules with what the file's content is.
type heldKey struct {
	key kernelVerdictKey
	of  kernelValidity
}

// AtGate describes an exec that waits: thread tid is about to execute the file
// that the caller has open as fd. The event is nil for processes that no rule
// may touch (not in scope, rescue set). key is equal for acts that share a
// verdict; nil when this act shares it with none. What no held rule reads of the
// process may be missing: Complete adds it.
func (k *Kernel) AtGate(gen event.Generation, fd int, tid int32) (ev *event.Event, key any, err error) {
	g := k.active.Load()
	if g == nil || g.number != uint32(gen) {
		return nil, nil, fmt.Errorf("describe exec: generation %d is not active", gen)
	}
	var r kernelRecord
	need := g.tables.needs
	in, err := k.gate.subject(&r.Subject, tid, need)
	if err != nil || !in {
		return nil, nil, err
	}
	slot := <-k.gate.slots
	defer func() { k.gate.slots <- slot }()
	var x kernelExamined
	if err := k.gate.examine(&x, fd, slot); err != nil {
		return nil, nil, err
	}
	r.Hook, r.Generation, r.File = uint8(event.HookExec), g.number, x.File
	path := rawChars(x.Path[:min(int(x.File.PathLen), len(x.Path))])

	h := &heldHandle{who: r.Subject, had: need, ticket: kernelTicketKey{ExecId: r.Subject.ExecId, Generation: g.number, File: x.File.Id}}
	h.key.of = x.Of
	if parts := g.tables.conf[event.HookExec-1].HeldKey; parts&keyNone == 0 {
		if vk, ok := verdictKey(&r, parts, path, k.config.Secret).(*kernelVerdictKey); ok {
			h.keyed, h.key.key = true, *vk
			key = h.key
		}
	}
	d := <-k.gate.free
	defer func() { k.gate.free <- d }()
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &now)
	ev = &event.Event{Hook: event.HookExec, Boot: uint64(now.Nano()), Time: time.Now(), Handle: h}
	ev.Process = d.process(&r.Subject, g)
	ev.File = d.file(&x.File, path, g)
	ev.Decision = event.Decision{Generation: g.number}
	return ev, key, nil
}

// RememberHeld stores a verdict about an act at the gate where the hook will
// look for it: under its key, or for this one exec.
func (k *Kernel) RememberHeld(gen event.Generation, ev *event.Event, v event.Verdict, enforced bool) error {
	h, ok := ev.Handle.(*heldHandle)
	if !ok || h.ticket.Generation != uint32(gen) {
		return fmt.Errorf("remember held verdict: %w", errors.ErrUnsupported)
	}
	value := kernelHeldVerdict{Verdict: uint32(v), Of: h.key.of}
	if enforced {
		value.Verdict |= verdictEnforced
	}
	if h.keyed {
		err := k.coll.Maps["held"].Put(&h.key.key, &value)
		if err == nil || !errors.Is(err, unix.E2BIG) {
			return wrapRemember(err)
		}
		k.heldFull.Add(1) // one exec at a time, then
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

// examine asks the kernel about an open file.
func (g *gateSide) examine(x *kernelExamined, fd int, slot uint32) error {
	ret, err := g.k.coll.Programs["examine"].Run(&ebpf.RunOptions{Context: kernelExamineOf{Fd: uint32(fd), Slot: slot}})
	if err != nil {
		return fmt.Errorf("examine file: %w", err)
	}
	if ret != 0 {
		return fmt.Errorf("examine file: %w", unix.EBADF)
	}
	if err := g.k.coll.Maps["files_examined"].Lookup(slot, x); err != nil {
		return fmt.Errorf("read facts of file: %w", err)
	}
	return nil
}

// Complete reads what AtGate left out. The thread must still wait.
func (k *Kernel) Complete(ev *event.Event) {
	h, ok := ev.Handle.(*heldHandle)
	if !ok || h.had == needAll {
		return
	}
	s := &h.who
	if err := readFacts(s, int32(s.Tid), needAll&^h.had); err != nil {
		k.log.Debug("facts of a held process are missing", "error", err)
	}
	h.had = needAll
	p := &ev.Process
	p.PPID, p.Comm, p.TTY, p.LoginUID = int32(s.Ppid), text(s.Comm[:]), s.Tty, s.Loginuid
	p.UID, p.EUID, p.GID, p.EGID, p.CapEff = s.Uid, s.Euid, s.Gid, s.Egid, s.Caps
	p.MntNS, p.PidNS, p.UserNS = s.MntNs, s.PidNs, s.UserNs
}

// gateNeeds says what held rules read of a process that is not in its context.
type gateNeeds uint8

const (
	needStatus gateNeeds = 1 << iota // ids, capabilities, name
	needLogin
	needTTY
	needNS
	needAll = needStatus | needLogin | needTTY | needNS
)

var fieldNeeds = map[string]gateNeeds{
	"process.uid": needStatus, "process.euid": needStatus, "process.gid": needStatus, "process.egid": needStatus,
	"process.caps": needStatus, "process.comm": needStatus, "process.loginuid": needLogin, "process.tty": needTTY,
	"process.ns.mnt": needNS, "process.ns.pid": needNS, "process.ns.user": needNS, "input": needAll,
}

// gateNeeds is what must be read of every process at the gate: what the
// uncertain clauses of held rules read.
func (t *tables) gateNeeds() gateNeeds {
	var need gateNeeds
	hb := &t.hooks[event.HookExec-1]
	for i := range hb.bits {
		c := &hb.bits[i].clause
		if !c.Maybe || !t.prog.Rules[event.HookExec][hb.bits[i].rule].Held() {
			continue
		}
		for _, f := range c.Reads {
			need |= fieldNeeds[f]
		}
		for k := range c.When {
			need |= fieldNeeds[event.FieldByID(c.When[k].Field).Path]
			if c.When[k].Other != event.FieldNone {
				need |= fieldNeeds[event.FieldByID(c.When[k].Other).Path]
			}
		}
	}
	return need
}

// subject fills in who acts; in is false if no rule may touch the process.
func (g *gateSide) subject(s *kernelWireSubject, tid int32, need gateNeeds) (in bool, err error) {
	s.Tid, s.Pid = uint32(tid), uint32(tid)
	pidfd, err := unix.PidfdOpen(int(tid), 0)
	if err != nil { // it does not lead its process
		if err := readFacts(s, tid, needStatus); err != nil {
			return false, err
		}
		if pidfd, err = unix.PidfdOpen(int(s.Pid), 0); err != nil {
			return false, fmt.Errorf("open process %d: %w", s.Pid, err)
		}
	}
	defer unix.Close(pidfd)
	var p kernelProc
	if err := g.k.coll.Maps["procs"].Lookup(uint32(pidfd), &p); err != nil {
		return false, fmt.Errorf("read context of process %d: %w", s.Pid, err)
	}
	if p.Flags&procScope == 0 || p.Flags&procRescue != 0 {
		return false, nil
	}
	s.ExecId, s.ParentExecId, s.Start, s.Cgroup = p.ExecId, p.ParentExecId, p.Start, p.Cgroup
	s.ExeId, s.ParentExeId, s.Ancestors, s.Ancestor = p.ExeId, p.ParentExeId, p.Ancestors, p.Ancestor
	return true, readFacts(s, tid, need)
}

// readFacts reads what is wanted of a thread from /proc.
func readFacts(s *kernelWireSubject, tid int32, need gateNeeds) error {
	dir := "/proc/" + strconv.Itoa(int(tid)) + "/"
	if need&needStatus != 0 {
		if err := readStatus(s, tid); err != nil {
			return err
		}
	}
	if need&needLogin != 0 {
		s.Loginuid = ^uint32(0) // a kernel without audit has none
		if b, err := os.ReadFile(dir + "loginuid"); err == nil {
			if n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 32); err == nil {
				s.Loginuid = uint32(n)
			}
		}
	}
	if need&needTTY != 0 {
		b, err := os.ReadFile(dir + "stat")
		if err != nil {
			return fmt.Errorf("read stat of thread %d: %w", tid, err)
		}
		f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
		if len(f) < 5 {
			return fmt.Errorf("read stat of thread %d: %d fields", tid, len(f))
		}
		tty, _ := strconv.ParseInt(string(f[4]), 10, 64) // as a signed 32-bit number
		s.Tty = uint32(int32(tty))
	}
	if need&needNS != 0 {
		for name, to := range map[string]*uint32{"mnt": &s.MntNs, "pid_for_children": &s.PidNs, "user": &s.UserNs} {
			var st unix.Stat_t
			if err := unix.Stat(dir+"ns/"+name, &st); err == nil {
				*to = uint32(st.Ino)
			}
		}
	}
	return nil
}

// readStatus reads /proc/TID/status. Ids there are those of the reader's user
// namespace, which is the initial one.
func readStatus(s *kernelWireSubject, tid int32) error {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(tid)) + "/status")
	if err != nil {
		return fmt.Errorf("read status of thread %d: %w", tid, err)
	}
	s.Tid = uint32(tid)
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		name, rest, _ := strings.Cut(sc.Text(), ":")
		f := strings.Fields(rest)
		if len(f) == 0 {
			continue
		}
		num := func(i, base int) uint64 {
			if i >= len(f) {
				return 0
			}
			n, _ := strconv.ParseUint(f[i], base, 64)
			return n
		}
		switch name {
		case "Name":
			copyChars(s.Comm[:], strings.TrimPrefix(rest, "\t"))
		case "Tgid":
			s.Pid = uint32(num(0, 10))
		case "PPid":
			s.Ppid = uint32(num(0, 10))
		case "Uid":
			s.Uid, s.Euid = uint32(num(0, 10)), uint32(num(1, 10))
		case "Gid":
			s.Gid, s.Egid = uint32(num(0, 10)), uint32(num(1, 10))
		case "CapEff":
			s.Caps = num(0, 16)
		}
	}
	if s.Pid == 0 {
		return fmt.Errorf("read status of thread %d: no Tgid", tid)
	}
	return nil
}

func copyChars(to []int8, s string) {
	for i := 0; i < len(s) && i < len(to)-1; i++ {
		to[i] = int8(s[i])
	}
}

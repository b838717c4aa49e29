package bpf

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"example.com/bailiff/internal/event"
)

// Flags of a record, as in wire.h.
const (
	flagUndecided = 1
	flagMatched   = 8
	flagCacheable = 16
	flagArgsCut   = 32
	flagEnvCut    = 64
	flagCommit    = 128
	flagChangedAt = 256
	flagDigest    = 512
	flagVerity    = 1024
)

// The names that go with each mask of a process; nobody writes into them.
var (
	traitNames = everyMask(event.ProcessTraits)
	stdioNames = everyMask(event.Stdio)
)

func everyMask(names []string) [][]string {
	out := make([][]string, 1<<len(names))
	for m := range out {
		out[m] = slices.Clip(event.FlagNames(names, uint64(m)))
	}
	return out
}

// decoder turns records into events. It is used by one goroutine.
type decoder struct {
	k       *Kernel
	env     map[string]bool
	known   map[*binding]*known // what was decoded before, for each binding in use
	bound   boundFrom           // by which the record was decided; no binding if there are no rules
	infos   map[uint32]*kernelExeInfo
	comms   map[[16]int8]string
	key     []byte // for looking into known
	cgroups *cgroupNames
	mounts  *mountTable
	offset  int64 // wall clock minus boot clock, ns
	dirs    dirPaths
	damaged atomic.Uint64
	unknown atomic.Uint64 // records of which only the name could be told
	checked time.Time
}

func newDecoder(k *Kernel) (*decoder, error) {
	m, err := readMounts()
	if err != nil {
		return nil, err
	}
	d := &decoder{k: k, env: map[string]bool{}, known: map[*binding]*known{}, infos: map[uint32]*kernelExeInfo{},
		comms: map[[16]int8]string{}, cgroups: newCgroupNames(), mounts: m}
	for _, n := range k.opt.Env {
		d.env[n] = true
	}
	return d, nil
}

// decode turns one record from the ring into an event. The record comes from
// our own programs, but a damaged one must not take the agent down.
func (d *decoder) decode(raw []byte) (*event.Event, error) {
	var r kernelRecord
	size := int(unsafe.Sizeof(r))
	if len(raw) < size {
		return nil, fmt.Errorf("decode record: %d bytes, at least %d expected", len(raw), size)
	}
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&r)), size), raw)
	data := raw[size:]
	path, ok := d.dirs.whole(&r, cut(data, 0, r.File.PathLen))
	if !ok {
		d.unknown.Add(1)
		r.File.Unresolved = 1
	}
	if r.Hook == 0 || r.Hook > uint8(event.HookReceive) {
		return nil, fmt.Errorf("decode record: unknown hook %d", r.Hook)
	}
	g := d.generation(r.Generation)
	ev := &event.Event{Hook: event.Hook(r.Hook), Boot: r.Time, Time: d.wall(r.Time)}
	ev.Rebound = !d.bind(g, r.Bindings)
	ev.Process = d.process(&r.Subject, g)
	ev.CgroupProcs, ev.CgroupRate, ev.FileAge = r.CgroupProcs, r.CgroupRate, d.age(&r)
	ev.Decision = decision(&r, g)
	if r.Flags&flagCacheable != 0 && g != nil && g.number == r.Generation && !ev.Rebound {
		if key := verdictKey(&r, g.tables.conf[event.Hook(r.Hook).Package()-1].Key, path, d.k.config.Secret); key != nil {
			ev.Handle = &verdictHandle{*key, d.bound.from}
		}
	}
	switch ev.Hook {
	case event.HookExec:
		ev.File = withDigests(d.file(&r.File, path, g), &r, data)
		ev.Process.Stdio = stdioNames[r.Stdio%uint32(len(stdioNames))]
		if r.NewExecId != 0 {
			ev.Exec = d.exec(&r, data, g)
		}
		if r.InterpLen != 0 {
			script, file := d.exe(r.File.ExeId, g), *ev.File
			file.Path, file.Names, file.Identities = script.Path, script.Names, script.Identities
			ev.File = &file
			ev.Exec.Script = ""
			ev.Exec.Interpreter = d.place(r.InterpDev, cut(data, 0, uint16(r.InterpLen)), g)
		}
	case event.HookMmap:
		ev.File = d.file(&r.File, path, g)
	case event.HookPtrace:
		ev.File = d.file(&r.File, path, g)
		ev.Target = &event.Target{PID: int32(r.Child), ExecID: event.ExecID(r.NewExecId), Traits: event.FlagNames(event.TargetTraits, r.ForkFlags)}
	case event.HookFork:
		ev.Fork = &event.Fork{PID: int32(r.Child), ExecID: event.ExecID(r.NewExecId), Flags: r.ForkFlags}
	case event.HookExit:
		ev.Exit = &event.Exit{Code: uint8(r.ExitCode >> 8), Signal: uint8(r.ExitCode & 0x7f), Core: r.ExitCode&0x80 != 0}
	}
	if ev.Hook.HasOpenFlags() {
		ev.File = d.file(&r.File, path, g)
		ev.Open = event.FlagNames(event.OpenFlags, uint64(r.OpenFlags))
	}
	return ev, nil
}

// age returns how many seconds ago the file of a record was changed, as file_age in
// facts.h computes it.
func (d *decoder) age(r *kernelRecord) uint64 {
	if r.Flags&flagChangedAt == 0 {
		return r.FileAge
	}
	age := int64(r.Time) + d.offset - int64(r.FileAge)
	return min(uint64(max(age, 0))/1e9, 0xfffffffe)
}

// bind chooses the binding by which files and programs get their names; false if
// it may not be the one by which the kernel decided.
func (d *decoder) bind(g *generation, number uint32) (sure bool) {
	d.bound = boundFrom{}
	if g == nil {
		return true
	}
	d.bound, sure = g.inForce(number)
	return sure
}

// verdictHandle is what Remember needs of an act.
type verdictHandle struct {
	key   kernelVerdictKey
	bound uint32 // binding that gave names to what the policy was asked about
}

// verdictKey builds the key under which the kernel will look for the verdict:
// the same parts that judge.h takes, the rest zero. Nil when the name does not fit.
func verdictKey(r *kernelRecord, parts uint32, path []byte, secret uint64) *kernelVerdictKey {
	s, f := &r.Subject, &r.File
	key := &kernelVerdictKey{Generation: r.Generation, Hook: uint32(r.Hook)}
	if parts&keyExe != 0 {
		key.ExeId = s.ExeId
	}
	if parts&keyParent != 0 {
		key.ParentExeId = s.ParentExeId
	}
	if parts&keyIDs != 0 {
		key.Uid, key.Euid, key.Gid, key.Egid = s.Uid, s.Euid, s.Gid, s.Egid
	}
	if parts&keyCgroup != 0 {
		key.Cgroup = s.Cgroup
	}
	if parts&keyOpen != 0 {
		key.OpenFlags = r.OpenFlags
	}
	if parts&keyFile != 0 {
		name, _, _ := bytes.Cut(path, []byte{0})
		if len(name) >= len(key.Name) || f.Unresolved != 0 {
			return nil
		}
		key.File, key.Dir, key.Name = f.Id, f.Dir, [64]int8(chars(string(name), 64))
		key.Path = hashPath(path, secret)
	}
	if parts&keyMeta != 0 {
		key.Mode, key.Owner, key.Group, key.Nlink = f.Mode, f.Uid, f.Gid, f.Nlink
		key.DirMode, key.DirUid, key.Traits = f.DirMode, f.DirUid, f.Traits
	}
	return key
}

// hashPath is what verdict.h computes of a path, from the same components, last
// first, each ended by NUL.
func hashPath(raw []byte, secret uint64) uint64 {
	h := secret
	for _, b := range raw {
		h = (h ^ uint64(b)) * 0x100000001b3
		h ^= h >> 32
	}
	return h | 1
}

// cut returns a part of the variable data, as much of it as there is.
func cut(data []byte, off, n uint16) []byte {
	from := min(int(off), len(data))
	return data[from:min(from+int(n), len(data))]
}

// generation returns the tables a record was decided with, the active ones if
// it was not decided or they are gone.
func (d *decoder) generation(n uint32) *generation {
	g := d.k.active.Load()
	if n == 0 || g != nil && g.number == n {
		return g
	}
	d.k.mu.Lock()
	defer d.k.mu.Unlock()
	if old := d.k.gens[n]; old != nil {
		return old
	}
	return g
}

func decision(r *kernelRecord, g *generation) event.Decision {
	dec := event.Decision{
		Verdict: event.Verdict(r.Verdict), Effect: event.Effect(r.Effect), Source: event.Source(r.Source),
		Mode: event.Mode(r.Mode), ModeBy: event.ModeBy(r.ModeBy), Generation: r.Generation, Undecided: r.Flags&flagUndecided != 0,
		Commit: r.Flags&flagCommit != 0,
	}
	if g == nil || g.number != r.Generation || r.Flags&flagMatched == 0 {
		return dec
	}
	dec.Revision = g.tables.prog.Revision
	if rule := g.tables.ruleOf(event.Hook(r.Hook), r.Clause); rule != nil {
		ref := rule.Ref
		dec.Rule = &ref
		if dec.Undecided && dec.Verdict == event.VerdictAllow && rule.Verdict == event.VerdictDeny && !rule.Audit {
			dec.FailOpen = "a deferred rule had no verdict at the time of the act"
			if g.tables.blindAt(event.Hook(r.Hook), r.Clause) {
				dec.FailOpen = "the digest of the file was not known at the time of the act"
			}
		}
	}
	return dec
}

func (d *decoder) process(s *kernelWireSubject, g *generation) event.Process {
	p := event.Process{
		PID: int32(s.Pid), TID: int32(s.Tid), PPID: int32(s.Ppid),
		ExecID: event.ExecID(s.ExecId), ParentID: event.ExecID(s.ParentExecId), Start: s.Start,
		UID: s.Uid, EUID: s.Euid, GID: s.Gid, EGID: s.Egid, LoginUID: s.Loginuid, CapEff: s.Caps,
		CgroupID: s.Cgroup, Cgroup: d.cgroups.path(s.Cgroup), MntNS: s.MntNs, PidNS: s.PidNs, UserNS: s.UserNs,
		TTY: s.Tty, Comm: d.comm(&s.Comm),
		Traits: traitNames[s.Traits%uint32(len(traitNames))],
	}
	p.Exe = *d.exe(s.ExeId, g)
	p.Parent = *d.exe(s.ParentExeId, g)
	above := d.ancestry(line{n: min(s.Ancestors, uint32(len(s.Ancestor))), ids: s.Ancestor}, g)
	p.Ancestry, p.AncestorNames, p.Shell = above.paths, above.names, above.shell
	p.AncestorsCut = int(s.Ancestors) >= len(s.Ancestor)
	if d.isShell(s.ExeId, g) {
		p.Shell = p.Exe.Path
	}
	return p
}

func (d *decoder) exec(r *kernelRecord, data []byte, g *generation) *event.Exec {
	x := &event.Exec{
		ExecID: event.ExecID(r.NewExecId), ArgsTotal: r.ArgsTotal, ArgsCut: r.Flags&flagArgsCut != 0,
		EnvCut: r.Flags&flagEnvCut != 0, Comm: d.comm(&r.Comm),
		OpenedAs: strings.TrimRight(string(cut(data, r.OpenedOff, r.OpenedLen)), "\x00"),
		Cwd:      d.place(r.CwdDev, cut(data, r.CwdOff, r.CwdLen), g),
	}
	if s := &r.Subject; r.Child != s.Euid || r.ExitCode != s.Egid || r.ForkFlags != s.Caps {
		x.Creds = &event.Creds{EUID: r.Child, EGID: r.ExitCode, CapEff: r.ForkFlags}
	}
	x.Args = splitStrings(cut(data, r.ArgsOff, r.ArgsLen), x.ArgsCut)
	d.environment(x, cut(data, r.EnvOff, r.EnvLen), g)
	if r.ScriptExe != 0 {
		x.Script = d.exe(r.ScriptExe, g).Path
	}
	return x
}

// environment adds the variables that somebody asks for.
func (d *decoder) environment(x *event.Exec, env []byte, g *generation) {
	for _, kv := range splitStrings(env, x.EnvCut) {
		// Only the names that the operator or a rule asks for leave this function: environments hold secrets.
		name, value, ok := strings.Cut(kv, "=")
		if !ok || !d.env[name] && (g == nil || !slices.Contains(g.tables.prog.Env, name)) {
			continue
		}
		if _, again := x.Env[name]; again {
			x.EnvAgain = append(x.EnvAgain, name)
			continue
		}
		if x.Env == nil {
			x.Env = map[string]string{}
		}
		x.Env[name] = value
	}
}

// splitStrings splits a block of NUL-terminated strings.
func splitStrings(b []byte, truncated bool) []string {
	if len(b) == 0 {
		return nil
	}
	if !truncated {
		b = bytes.TrimSuffix(b, []byte{0})
	}
	return strings.Split(string(b), "\x00")
}

// wall turns time since boot into wall-clock time. The offset is measured
// anew now and then, because the wall clock may be set.
func (d *decoder) wall(boot uint64) time.Time {
	if d.offset == 0 || boot%64 == 0 {
		d.offset = int64(wallOffset())
	}
	return time.Unix(0, int64(boot)+d.offset)
}

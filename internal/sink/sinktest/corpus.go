// Package sinktest has what tests of several ways out need: items of every
// kind, and receivers' helpers.
package sinktest

import (
	"strings"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/sink"
)

// Named is an item with a name for golden files.
type Named struct {
	Name string
	Item *sink.Item
}

// Run is the run that the items belong to.
func Run() event.Run {
	return event.Run{ID: "PNZF7PFG2GK2", Boot: "2899dae4-4fa4-4eef-95b6-6bc95325f61a"}
}

// Host is where they come from.
func Host() sink.Host {
	return sink.Host{Name: "web-1.example.com", ID: "4a5b6c7d8e9f", Cluster: "prod", Kernel: "6.12.0", Version: "v0.1.0", Virtual: true}
}

// Events returns one item for each thing that can happen, numbered from 1.
func Events() []Named {
	var out []Named
	add := func(name string, e *event.Event) {
		e.Seq = uint64(len(out) + 1)
		e.Time = time.UnixMilli(1795376085154 + int64(len(out))).UTC()
		if e.Agent == nil && e.Process.PID == 0 {
			e.Process = process()
		}
		if e.Boot == 0 {
			e.Boot = 71_123_000_000
		}
		out = append(out, Named{name, &sink.Item{Run: Run(), Seq: e.Seq, Event: e, Time: e.Time}})
	}
	rule := &event.RuleRef{
		ID: "exec-memory-backed", Path: "bailiff.exec.deny", File: "exec.rego", Line: 12,
		Title: "Program that exists in memory only", Severity: "critical", Attack: []string{"T1620", "T1059.004"},
	}
	plain := &event.RuleRef{ID: "shadow-read", Path: "bailiff.open.deny", File: "open.rego", Line: 3}
	by := func(v event.Verdict, eff event.Effect, m event.Mode, r *event.RuleRef) event.Decision {
		return event.Decision{Verdict: v, Effect: eff, Source: event.SourceTable, Mode: m, Rule: r, Revision: "r42", Generation: 3, Message: "a message"}
	}
	exec := func() *event.Exec {
		return &event.Exec{ExecID: 0x2a2a, Args: []string{"id", "-u", "it's here"}, ArgsTotal: 16, Env: map[string]string{"LD_PRELOAD": "/x.so", "A": ""},
			Cwd: "/root", OpenedAs: "/usr/bin/id", Comm: "id"}
	}
	add("exec", &event.Event{Hook: event.HookExec, File: file("/usr/bin/id"), Exec: exec()})
	add("exec-allowed", &event.Event{Hook: event.HookExec, File: file("/usr/bin/id"), Exec: exec(), Decision: by(event.VerdictAllow, 0, event.ModeEnforce, nil)})
	add("exec-refused", &event.Event{Hook: event.HookExec, File: file("[0:1]/memfd:x"),
		Decision: by(event.VerdictDeny, event.EffectRefused, event.ModeEnforce, rule)})
	setID := exec()
	setID.Creds = &event.Creds{EUID: 0, EGID: 1001, CapEff: 1<<41 - 1}
	add("exec-killed", &event.Event{Hook: event.HookExec, File: file("/dev/shm/evil"), Exec: setID,
		Decision: by(event.VerdictDeny, event.EffectKilled, event.ModeEnforce, rule)})
	late := by(event.VerdictDeny, event.EffectKilled, event.ModeEnforce, rule)
	late.Late, late.Source = true, event.SourceEngine
	add("exec-killed-late", &event.Event{Hook: event.HookExec, File: file("/dev/shm/evil"), Exec: exec(), Decision: late})
	add("open-would-deny", &event.Event{Hook: event.HookOpen, File: file("/etc/shadow"), Open: []string{"read"},
		Decision: by(event.VerdictDeny, event.EffectNone, event.ModeAudit, plain)})
	moved := file("/etc/shadow")
	moved.At = "/tmp/moved"
	add("open-refused", &event.Event{Hook: event.HookOpen, File: moved, Open: []string{"read", "write"},
		Decision: by(event.VerdictDeny, event.EffectRefused, event.ModeEnforce, plain)})
	alert := by(event.VerdictAlert, 0, event.ModeEnforce, rule)
	alert.Others, alert.Message = []event.RuleRef{*plain}, ""
	add("exec-alert", &event.Event{Hook: event.HookExec, File: file("/usr/bin/nc"), Exec: exec(), Decision: alert})
	open := event.Decision{FailOpen: "queue_full", Mode: event.ModeEnforce, Source: event.SourceDefault}
	add("open-unjudged", &event.Event{Hook: event.HookOpen, File: file("/etc/passwd"), Open: []string{"read"}, Decision: open})
	add("open-undecided", &event.Event{Hook: event.HookOpen, File: file("/etc/passwd"), Open: []string{"read"}, Decision: event.Decision{Undecided: true}})
	diverged := by(event.VerdictAllow, 0, event.ModeEnforce, nil)
	diverged.Divergence = true
	add("open-diverged", &event.Event{Hook: event.HookOpen, File: &event.File{Path: "/etc", Mode: 0o40755, Unresolved: true}, Decision: diverged})
	add("mmap-refused", &event.Event{Hook: event.HookMmap, File: file("/tmp/evil.so"), Decision: by(event.VerdictDeny, event.EffectRefused, event.ModeEnforce, plain)})
	for _, h := range []event.Hook{event.HookCreate, event.HookLink, event.HookRename, event.HookUnlink, event.HookTruncate, event.HookReceive} {
		add(h.String()+"-refused", &event.Event{Hook: h, File: file("/etc/shadow"), Open: []string{"write"},
			Decision: by(event.VerdictDeny, event.EffectRefused, event.ModeEnforce, plain)})
	}
	add("ptrace", &event.Event{Hook: event.HookPtrace, File: file("/usr/sbin/sshd"), Target: &event.Target{PID: 700, ExecID: 0x2bc0, Traits: []string{"other_user"}}, Decision: alert})
	add("fork", &event.Event{Hook: event.HookFork, Fork: &event.Fork{PID: 8001, ExecID: 0x1f1f, Flags: 0x1200011}})
	add("fork-refused", &event.Event{Hook: event.HookFork, Fork: &event.Fork{}, Decision: by(event.VerdictDeny, event.EffectRefused, event.ModeEnforce, plain)})
	add("exit", &event.Event{Hook: event.HookExit, Exit: &event.Exit{Code: 3}})
	add("exit-signal", &event.Event{Hook: event.HookExit, Exit: &event.Exit{Signal: 11, Core: true}})
	elsewhere := process()
	elsewhere.PidNS, elsewhere.LoginUID, elsewhere.UID = 4026532263, 1<<32-1, 0
	add("exec-in-container", &event.Event{Hook: event.HookExec, Process: elsewhere, File: file("/bin/sh"), Exec: exec()})
	add("exec-bare", &event.Event{Hook: event.HookExec, Process: event.Process{PID: 1}, File: &event.File{}})
	nasty := process()
	nasty.Comm, nasty.Exe.Path = "a\"\n{\u202e", "/tmp/\xff\\x\n{\"x\":1}"
	bad := exec()
	bad.Args, bad.ArgsCut = []string{"\x1b[2J", "\xc3(", "a\nb", "\u0085"}, true
	add("exec-nasty", &event.Event{Hook: event.HookExec, Process: nasty, File: file("/tmp/\xff\xfe"), Exec: bad, Decision: by(event.VerdictDeny, event.EffectNone, event.ModeAudit, rule)})
	for _, n := range notices() {
		add("notice-"+n.Code, &event.Event{Agent: &n, Decision: event.Decision{Mode: event.ModeEnforce, Revision: "r42", Generation: 3}})
	}
	for _, g := range []struct {
		name string
		gap  *event.KeptGap
	}{
		{"gap", &event.KeptGap{First: 901, Last: 1020, Count: 120, Reason: event.LossEvicted}},
		{"gap-unclean", &event.KeptGap{First: 7, Last: 9, Count: 3, Reason: event.LossUnclean, AtLeast: true}},
		{"gap-unknown-cursor", &event.KeptGap{Reason: event.LossUnknownCursor, AtLeast: true}},
	} {
		out = append(out, Named{g.name, &sink.Item{Run: Run(), Gap: g.gap, Time: time.UnixMilli(1795376085999).UTC()}})
	}
	return out
}

func notices() []event.Notice {
	n := func(code, text string, kv ...string) event.Notice {
		f := map[string]string{}
		for i := 0; i+1 < len(kv); i += 2 {
			f[kv[i]] = kv[i+1]
		}
		return event.Notice{Code: code, Text: text, Fields: f}
	}
	return []event.Notice{
		n("started", "the agent runs", "mode", "enforce", "backend", "lsm"),
		n("stopped", "the agent ends"),
		n("policy-change", "revision r42 is in force", "revision", "r42", "old_revision", "r41", "lowered", "30"),
		n("policy-refused", "the bundle is refused", "reason", "exec.rego:3: bad"),
		n("mode-change", "mode is audit, was enforce", "mode", "audit", "old_mode", "enforce", "by", "uid 0, pid 7"),
		n("operator-call", "SetMode", "by", "uid 0, pid 7", "from", "unix", "method", "SetMode", "result", "OK"),
		n("call-refused", "ReloadPolicy", "by", "cn:reader", "from", "10.0.0.7:4711", "method", "ReloadPolicy"),
		n("condition-raised", "events cannot be kept", "code", "spool-failing", "severity", "medium", "remedy", "make room"),
		n("condition-cleared", "events cannot be kept", "code", "spool-failing", "severity", "medium", "lasted", "3s"),
		n("already-open", "/usr/sbin/sshd (77) has /etc/shadow open already", "pid", "77", "rule", "r", "path", "/etc/shadow"),
		n("late-kill", "killed late", "pid", "77", "rule", "r"),
		n("spool-loss", "the agent died", "lost", "3", "at_least", "false"),
		n("events-dropped", "events were lost", "ring_full_exec", "12"),
		n("fail-open", "acts passed unjudged", "queue_full", "4"),
	}
}

func process() event.Process {
	return event.Process{
		PID: 2150, TID: 2151, PPID: 2100, ExecID: 0xabcdef, ParentID: 0xabcde0, Exe: *file("/usr/bin/bash"),
		Parent: event.File{ID: event.FileID{Dev: 8<<20 | 1, Ino: 99}, Path: "/usr/sbin/sshd"}, Ancestry: []string{"/usr/sbin/sshd", "/usr/lib/systemd/systemd"}, Shell: "/usr/bin/bash",
		Comm: "bash", UID: 1000, EUID: 1001, GID: 100, EGID: 101, LoginUID: 1000, CapEff: 1 << 21, CgroupID: 4711, Cgroup: "/user.slice/session-1.scope",
		MntNS: 4026531841, PidNS: 4026531836, UserNS: 4026531837, TTY: 34816, Start: 70_001_234_567,
	}
}

func file(path string) *event.File {
	f := &event.File{
		ID: event.FileID{Dev: 8<<20 | 1, Ino: 131, Gen: 77}, Path: path, Mode: 0o100755, Nlink: 1, FsMagic: 0xef53, FsType: "ext4", DirMode: 0o40755,
	}
	if strings.Contains(path, "memfd") {
		f.Nlink, f.FsType, f.Traits = 0, "tmpfs", []string{"memory", "unlinked"}
	}
	return f
}

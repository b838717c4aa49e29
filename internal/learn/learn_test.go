package learn

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

func at(i int) time.Time { return time.Unix(int64(1000+i), 0) }

func execBy(i int, actor, id, prog, newID string, ancestors ...string) *event.Event {
	e := &event.Event{Hook: event.HookExec, Time: at(i), File: &event.File{Path: prog},
		Process: event.Process{Exe: event.File{Path: actor}, Ancestry: ancestors, Cgroup: "/system.slice/a.service"}, Exec: &event.Exec{}}
	_ = e.Process.ExecID.UnmarshalText([]byte(id))
	_ = e.Exec.ExecID.UnmarshalText([]byte(newID))
	return e
}

func opened(i int, name string, how ...string) *event.Event {
	return &event.Event{Hook: event.HookOpen, Time: at(i), File: &event.File{Path: name, DirMode: 0o40755}, Open: how,
		Process: event.Process{Exe: event.File{Path: "/opt/a"}, Cgroup: "/system.slice/a.service"}}
}

func has(p *Proposal, code, what string) bool {
	return slices.ContainsFunc(p.Doubts, func(d Doubt) bool { return d.Code == code && d.What == what })
}

func TestPropose(t *testing.T) {
	l := New()
	l.Add(execBy(0, "/sbin/init", "1", "/opt/a", "2"))
	l.Add(&event.Event{Hook: event.HookFork, Time: at(1), CgroupProcs: 3, Process: event.Process{ExecID: 2}, Fork: &event.Fork{ExecID: 3}})
	l.Add(execBy(2, "/opt/a", "3", "/usr/bin/helper", "4"))
	l.Add(execBy(3, "/opt/a", "3", "/usr/bin/helper", "5"))
	l.Add(execBy(4, "/usr/bin/helper", "9", "/usr/bin/python3.11", "6", "/opt/a"))
	denied := execBy(5, "/opt/a", "3", "/usr/bin/nc", "7")
	denied.Decision.Verdict = event.VerdictDeny
	l.Add(denied)
	for i := range 5 {
		l.Add(opened(10+i, fmt.Sprintf("/usr/share/a/f%c", 'a'+i), "read"))
	}
	l.Add(opened(20, "/etc/a.conf", "read"))
	l.Add(opened(21, "/etc/b.conf", "read"))
	l.Add(opened(22, "/proc/4711/stat", "read"))
	l.Add(opened(23, "/var/lib/a/session.Xk9fQ2ab", "write", "create"))
	l.Add(opened(24, "/var/log/a.log", "write", "append"))
	l.Add(opened(25, "/tmp/tmp.abcdefgh/x", "write"))
	p := l.Propose(Options{Name: "a", Cgroup: "/system.slice/a.service"})
	for what, c := range map[string][2][]string{
		"programs":    {p.Programs, {"/opt/a"}},
		"executables": {p.Executables, {"/opt/a", "/usr/bin/helper", "/usr/bin/python3.11"}},
		"read":        {p.Read, {"/etc/a.conf", "/etc/b.conf"}},
		"read below":  {p.ReadBelow, {"/proc/", "/usr/share/a/"}},
		"write":       {p.Write, {"/var/log/a.log"}},
		"write below": {p.WriteBelow, {"/tmp/", "/var/lib/a/"}},
	} {
		if !slices.Equal(c[0], c[1]) {
			t.Errorf("%s: %q, want %q", what, c[0], c[1])
		}
	}
	if p.By != ByProgram || p.Processes != 16 {
		t.Errorf("by %s, %d processes", p.By, p.Processes)
	}
	for _, d := range [][2]string{{DoubtInterpreter, "/usr/bin/python3.11"}, {DoubtOnce, "/usr/bin/python3.11"}, {DoubtOnce, "/var/log/a.log"},
		{DoubtGrouped, "/usr/share/a/"}, {DoubtGrouped, "/var/lib/a/"}, {DoubtWritable, "/tmp/"}, {DoubtDenied, ""}, {DoubtShort, ""}} {
		if !has(p, d[0], d[1]) {
			t.Errorf("no doubt %s about %q in %+v", d[0], d[1], p.Doubts)
		}
	}
	if has(p, DoubtOnce, "/usr/bin/helper") {
		t.Error("executed twice, and doubted as seen once")
	}
}

func TestServiceOfAnInterpreter(t *testing.T) {
	l := New()
	l.Add(execBy(0, "/sbin/init", "1", "/usr/bin/python3", "2"))
	p := l.Propose(Options{Name: "a", Cgroup: "/system.slice/a.service"})
	if p.By != ByCgroup || !has(p, DoubtCgroup, "/system.slice/a.service") || !has(p, DoubtNoOpens, "") || p.Processes != 0 || !has(p, DoubtNoForks, "") {
		t.Errorf("%+v", p)
	}
}

func TestTemporary(t *testing.T) {
	for name, want := range map[string]bool{
		"tmp.Xk2fQz9aLo": true, "tmpabcdefgh": true, "sess_0a8f37bc": true, "12345": true, "access.log.20261122": true,
		"d41d8cd98f00b204e9800998ecf8427e": true, "pg_123456.tmp": true,
		"libc.so.6": false, "libcrypto.so.1.1": false, "python3.11": false, "x86_64-linux-gnu": false, "nginx.conf": false,
		"locale-archive": false, "ld.so.cache": false, "access.log.1": false, "passwd": false, "UTC": false, "sha256sum": false,
	} {
		if got := temporary("/a/" + name); got != want {
			t.Errorf("temporary(%s) = %v", name, got)
		}
	}
}

func TestCleanName(t *testing.T) {
	for in, want := range map[string]string{"nginx.service": "nginx", "app@1.service": "app-1", "42": "service", "/": "service", "a b": "a-b"} {
		if got := CleanName(in); got != want || CheckName(got) != nil {
			t.Errorf("CleanName(%q) = %q, want %q", in, got, want)
		}
	}
}

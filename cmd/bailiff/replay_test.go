package main

import (
	"context"
	"io"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/spool"
)

// keepEvents writes n acts such as a server does into a spool.
func keepEvents(tb testing.TB, dir string, n int) {
	tb.Helper()
	l, err := spool.Open(spool.Options{Dir: dir, Run: event.Run{ID: "run", Boot: "boot"}, Sync: spool.SyncNever, QueueBytes: 1 << 30})
	if err != nil {
		tb.Fatal(err)
	}
	hub := server.NewHub(server.Identity{RunID: "run", BootID: "boot"})
	hub.SetSpool(l)
	progs := []string{"/usr/bin/bash", "/usr/bin/python3.13", "/usr/sbin/nginx", "/usr/bin/make", "/usr/lib/systemd/systemd", "/usr/bin/nc"}
	files := []string{"/usr/bin/id", "/usr/bin/cc1", "/etc/ssl/openssl.cnf", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/etc/shadow", "/tmp/build/a.out"}
	for i := range n {
		e := &event.Event{
			Seq: uint64(i + 1), Time: time.Unix(int64(i), 0), Hook: event.Judged[i%3],
			Process: event.Process{PID: int32(i), Exe: event.File{Path: progs[i%len(progs)]}, Parent: event.File{Path: "/usr/bin/bash"},
				Ancestry: []string{"/usr/bin/bash", "/usr/sbin/sshd", "/usr/lib/systemd/systemd"}, Comm: "worker", UID: 1000, EUID: 1000, LoginUID: 1000,
				Cgroup: "/user.slice/user-1000.slice/session-3.scope", CgroupID: 4711, PidNS: 4026531836},
			Decision: event.Decision{Verdict: event.VerdictAllow, Source: event.SourceTable, Revision: "before", Generation: 1},
		}
		file := &event.File{Path: files[i%len(files)], Mode: 0o100755, FsType: "ext4", FsMagic: 0xef53}
		switch e.Hook {
		case event.HookExec:
			e.File, e.Exec = file, &event.Exec{Args: []string{"x", "--with", "some arguments"}, Cwd: "/home/u", Comm: "x"}
		case event.HookOpen:
			e.File, e.Open = file, []string{"read"}
		case event.HookFork:
			e.Fork, e.CgroupProcs = &event.Fork{PID: 9}, 30
		}
		hub.Emit(e)
	}
	if err := l.Close(time.Minute); err != nil {
		tb.Fatal(err)
	}
}

// BenchmarkReplay is `bailiff replay embedded SPOOL`: reading, decoding,
// judging by the rules of the baseline.
func BenchmarkReplay(b *testing.B) {
	dir := b.TempDir()
	const n = 100_000
	keepEvents(b, dir, n)
	a := &app{out: io.Discard, err: io.Discard, getenv: func(string) string { return "" }, output: "text"}
	for b.Loop() {
		f := replayFlags{failOn: []string{"none"}}
		if err := f.prepare([]string{dir}); err != nil {
			b.Fatal(err)
		}
		if err := a.replay(context.Background(), "", &f); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "acts/s")
}

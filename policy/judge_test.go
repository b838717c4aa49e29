package policy

import (
	"context"
	"math/rand/v2"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/rules"
)

// TestJudgeIsDecide: the short way gives the answer of the long one.
func TestJudgeIsDecide(t *testing.T) {
	p, _, err := LoadFS(context.Background(), rules.FS, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	names := []string{"/usr/bin/bash", "/usr/sbin/nginx", "/usr/bin/nc", "/etc/shadow", "/tmp/x", "/etc/passwd", "/usr/bin/dpkg", "/dev/mem", "/usr/bin/mount", "/root/.ssh/id_rsa"}
	r := rand.New(rand.NewPCG(1, 2))
	pick := func() string { return names[r.IntN(len(names))] }
	seen := map[event.Verdict]int{}
	asked := 0
	for range 3000 {
		e := event.Event{Hook: event.Judged[r.IntN(3)], Process: event.Process{
			Exe: event.File{Path: pick()}, Parent: event.File{Path: pick()}, Ancestry: []string{pick()}, UID: uint32(r.IntN(2) * 1000), PidNS: uint32(4026531836 + r.IntN(2)),
			Traits: event.ProcessTraits[:r.IntN(len(event.ProcessTraits))],
		}}
		switch e.Hook {
		case event.HookExec:
			e.File = &event.File{Path: pick(), UID: uint32(r.IntN(2)), Mode: 0o104755, Traits: event.Traits[:r.IntN(len(event.Traits))]}
			e.Exec = &event.Exec{Args: []string{"x", "-e", pick()}, Env: map[string]string{"LD_PRELOAD": "/tmp/x"}}
			e.Process.Stdio = event.Stdio[r.IntN(len(event.Stdio)):]
		case event.HookOpen:
			e.File = &event.File{Path: pick()}
			e.Open = event.OpenFlags[:r.IntN(len(event.OpenFlags))]
		case event.HookFork:
			e.CgroupProcs, e.CgroupRate = uint64(r.IntN(20000)), uint64(r.IntN(2000))
		}
		got, err := p.Judge(t.Context(), &e)
		if err != nil {
			t.Fatal(err)
		}
		want, err := p.Decide(t.Context(), &e)
		if err != nil {
			t.Fatal(err)
		}
		if got.Verdict != want.Verdict || (got.Rule == nil) != (want.Rule == nil) || got.Rule != nil && got.Rule.ID != want.Rule.ID {
			t.Fatalf("%+v\n got %+v\nwant %+v", e, got, want)
		}
		seen[got.Verdict]++
		if got.Asked {
			asked++
		}
	}
	if seen[event.VerdictDeny] < 20 || seen[event.VerdictAlert] < 20 || seen[event.VerdictAllow] < 20 || asked == 0 {
		t.Errorf("the acts are too much alike: %v, OPA asked %d times", seen, asked)
	}
}

func BenchmarkJudge(b *testing.B) {
	p, _, err := LoadFS(context.Background(), rules.FS, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close(context.Background())
	e := event.Event{Hook: event.HookExec, Process: event.Process{Exe: event.File{Path: "/usr/bin/bash"}, Ancestry: []string{"/usr/sbin/sshd", "/usr/lib/systemd/systemd"}},
		File: &event.File{Path: "/usr/bin/id"}, Exec: &event.Exec{Args: []string{"id"}}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Judge(b.Context(), &e); err != nil {
			b.Fatal(err)
		}
	}
}

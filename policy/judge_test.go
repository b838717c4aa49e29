package policy

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/fstest"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
	"example.com/bailiff/rules"
)

// withOpen is the rules that ship, which the kernel decides alone, and one that
// it leaves open.
func withOpen(t *testing.T) fs.FS {
	t.Helper()
	out := fstest.MapFS{"exec/open.rego": {Data: []byte("package bailiff.exec\n\n# METADATA\n# custom: {id: open}\nalert contains \"open\" if {\n" +
		"\tinput.file.name == \"mount\"\n\tsome a in input.args\n\tupper(a) == \"-E\"\n}\n")}}
	err := fs.WalkDir(rules.FS, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(rules.FS, path)
		out[path] = &fstest.MapFile{Data: b}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestJudgeIsDecide: the short way gives the answer of the long one, but for which
// of several rules of a kind is named first: one that waits for the new image is not.
func TestJudgeIsDecide(t *testing.T) {
	p, _, err := LoadFS(context.Background(), withOpen(t), Options{})
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
		if got.Verdict != want.Verdict || (got.Rule == nil) != (want.Rule == nil) || got.Rule != nil && !p.sameRule(e.Hook, got.Rule.ID, want.Rule.ID) {
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

// sameRule: the rules are one, or of a kind, and the one that OPA names first waits
// for the new image.
func (p *Policy) sameRule(h event.Hook, got, opa string) bool {
	of := func(id string) *ir.Rule {
		l := p.program.Rules[h.Package()]
		return &l[slices.IndexFunc(l, func(r ir.Rule) bool { return r.Ref.ID == id })]
	}
	waits := slices.ContainsFunc(of(opa).Clauses, func(c ir.Clause) bool { return c.AtCommit() })
	return got == opa || waits && !of(opa).Wins(of(got))
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

package enforcer

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"testing/fstest"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy"
)

// Rules of every kind: lowered, prefiltered by what the kernel holds, left
// whole to the policy, audited only, reported only, on two hooks.
const mixedRego = `package bailiff.exec

# METADATA
# title: Program in a world-writable directory
# custom: {id: tmp, severity: high}
deny contains {"message": sprintf("%s ran %s", [input.process.exe.path, input.file.path])} if {
	startswith(input.file.path, "/tmp/")
	input.process.uid >= 1000
}

# METADATA
# title: Miner
# custom: {id: miner}
deny contains sprintf("%s mines", [input.file.path]) if {
	startswith(input.file.path, "/opt/")
	contains(input.file.path, "xmr")
}

# METADATA
# title: Netcat that runs a command
# custom: {id: netcat}
deny contains "nc -e" if {
	input.file.name == "nc"
	"-e" in input.args
}

# METADATA
# title: Odd program
# custom: {id: odd, mode: audit}
deny contains "odd" if regex.match("[0-9]{3}$", input.file.path)

# METADATA
# title: Root runs something of a user
# custom: {id: root}
alert contains "root" if {
	input.process.uid == 0
	startswith(input.file.path, "/home/")
}
`

const openRego = `package bailiff.open

# METADATA
# title: Shadow
# custom: {id: shadow}
deny contains sprintf("%s reads %s", [input.process.exe.path, input.file.path]) if {
	input.file.path == "/etc/shadow"
	"read" in input.open.flags
	not input.process.exe.path in {"/usr/bin/passwd", "/usr/sbin/sshd"}
}
`

func loadRego(tb testing.TB) *policy.Policy {
	tb.Helper()
	p, _, err := policy.LoadFS(tb.Context(), fstest.MapFS{
		"exec.rego": {Data: []byte(mixedRego)},
		"open.rego": {Data: []byte(openRego)},
	}, policy.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// TestAgreesWithOPA runs random acts through a kernel that is the definition,
// and the real policy engine. What leaves is what OPA says of the act, except
// that a stored verdict of a deferred rule is ahead of rules behind it, and no
// event is a divergence.
func TestAgreesWithOPA(t *testing.T) {
	p := loadRego(t)
	k, sink := newFakeKernel(), newRecorder()
	k.keyOf = func(ev *event.Event) string {
		key, ok := p.KeyOf(ev)
		return fmt.Sprint(ok, ev.Hook, key)
	}
	e, err := New(Options{Kernel: k, Policy: p, Sinks: []Sink{sink}, Modes: event.Modes{All: event.ModeEnforce}, Deadline: time.Minute,
		SampleEvery: 1, PollEvery: time.Hour, CacheSize: 50})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(t.Context()) }()
	<-e.Ready()

	rnd := rand.New(rand.NewPCG(1, 2))
	pick := func(s ...string) string { return s[rnd.IntN(len(s))] }
	const acts = 1500
	for i := range acts {
		// No more at a time than the queue holds, and some of them remembered.
		for i%250 == 0 && e.Status().Counters["events_emitted"] < uint64(i) {
			runtime.Gosched()
		}
		k.act(randomAct(rnd, pick))
	}
	close(k.events)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}

	sources := map[event.Source]int{}
	for _, ev := range sink.acts() {
		d := ev.Decision
		want, err := p.Decide(t.Context(), ev)
		if err != nil {
			t.Fatal(err)
		}
		sources[d.Source]++
		if d.Divergence || d.FailOpen != "" || d.Verdict != want.Verdict {
			t.Fatalf("%s %s: %+v, OPA says %+v", ev.Hook, ev.File.Path, d, want)
		}
		if want.Rule != nil && (d.Rule == nil || d.Rule.ID != want.Rule.ID && d.Source != event.SourceTable) {
			t.Fatalf("%s %s: rule %+v, OPA says %+v", ev.Hook, ev.File.Path, d.Rule, want.Rule)
		}
		if d.Verdict > event.VerdictAllow && d.Message == "" {
			t.Fatalf("%s %s: no message", ev.Hook, ev.File.Path)
		}
	}
	for _, s := range []event.Source{event.SourceTable, event.SourceCache, event.SourceEngine} {
		if sources[s] < 20 {
			t.Errorf("only %d decisions by %s of %v: the test does not try enough", sources[s], s, sources)
		}
	}
	if s := e.Status(); s.Counters["divergences"] != 0 || s.Rules.Lowered == 0 || s.Rules.Prefiltered == 0 {
		t.Errorf("%+v", s)
	}
}

func randomAct(rnd *rand.Rand, pick func(...string) string) *event.Event {
	uid := uint32(rnd.IntN(3) * 1000)
	ev := &event.Event{
		Hook: event.HookExec,
		Process: event.Process{PID: int32(rnd.IntN(1000) + 2), ExecID: event.ExecID(rnd.IntN(50) + 1), UID: uid, EUID: uid,
			Exe: event.File{Path: pick("/bin/sh", "/usr/bin/passwd", "/usr/sbin/nginx")}},
		File: &event.File{Path: pick("/tmp/x", "/tmp/901", "/opt/xmrig", "/opt/app", "/opt/app123", "/usr/bin/nc", "/bin/ls",
			"/home/u/x", "/home/u/777", "/etc/shadow")},
	}
	ev.Process.TID = ev.Process.PID
	if rnd.IntN(3) == 0 {
		ev.Hook, ev.Open = event.HookOpen, []string{pick("read", "write")}
		return ev
	}
	ev.Exec = &event.Exec{Args: []string{ev.File.Path, pick("-e", "-l")}}
	return ev
}

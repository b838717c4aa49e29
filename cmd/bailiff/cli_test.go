package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/bailiff/bpf"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/spool"
)

// The binary under test is the test binary.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bailiff": main})
}

// TestScripts runs testdata/*.txtar. Beside the commands of testscript they
// have:
//
//	agent [DIR [RUN]]  a server with a small agent behind it, on $SOCK, until the script ends; with a spool in DIR
//	agent tls           the same on $ADDR, with certificates in $WORK: ca.pem, ops.pem and .key of an operator, siem.pem and .key
//	refuse TEXT        from now on that agent refuses mode changes and reloads
//	emit FILE          when one more has subscribed: the events of FILE, one JSON object a line
//	stopagent          ends it
//	await REGEXP CMD   runs CMD until its output matches
//	cgroup             makes an empty cgroup, $CGROUP, until the script ends
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("SOCK", filepath.Join(e.WorkDir, "sock"))
			e.Setenv("TZ", "UTC")
			return nil
		},
		Condition: func(cond string) (bool, error) {
			switch cond {
			case "root":
				return os.Geteuid() == 0, nil
			case "cgroup2":
				return cgroupMount() != "", nil
			case "canrefuse":
				best := bestBackend(bpf.Probe(t.Context()))
				return best == bpf.BackendLSM || best == bpf.BackendModifyReturn, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"agent": startAgent, "refuse": refuse, "emit": emit, "stopagent": stopAgent, "await": await, "cgroup": cgroup,
		},
	})
}

// scripted is the agent behind the scripts.
type scripted struct {
	hub  *server.Hub
	stop func()

	mu      sync.Mutex
	mode    event.Mode
	refused string
	seq     uint64 // of the last event
	emits   uint64 // calls of emit
}

// agents finds the agent of a script by its socket.
type agents struct{ sync.Map }

func startAgent(ts *testscript.TestScript, _ bool, args []string) {
	id := server.Identity{Version: "v1", BootID: "boot", RunID: "run"}
	var kept *spool.Log
	if len(args) == 2 {
		id.RunID = args[1]
	}
	o := server.Options{Socket: ts.Getenv("SOCK")}
	if len(args) > 0 && args[0] == "tls" {
		o, args = server.Options{Listen: "127.0.0.1:0", TLS: makeCertificates(ts)}, nil
	}
	a := &scripted{hub: server.NewHub(id)}
	if len(args) > 0 {
		l, err := spool.Open(spool.Options{Dir: ts.MkAbs(args[0]), Run: event.Run{ID: id.RunID, Boot: id.BootID}})
		ts.Check(err)
		a.hub.SetSpool(l)
		kept = l
	}
	ctx, cancel := context.WithCancel(context.Background())
	o.Agent, o.Hub = a, a.hub
	s, err := server.New(ctx, o)
	ts.Check(err)
	if o.Listen != "" {
		ts.Setenv("ADDR", s.Addrs()[0].String())
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	a.stop = sync.OnceFunc(func() {
		if kept != nil {
			ts.Check(kept.Close(20 * time.Second))
		}
		cancel()
		ts.Check(<-done)
	})
	running.Store(ts.Getenv("SOCK"), a)
	ts.Defer(a.stop)
}

func agentOf(ts *testscript.TestScript) *scripted {
	a, ok := running.Load(ts.Getenv("SOCK"))
	if !ok {
		ts.Fatalf("no agent runs")
	}
	return a.(*scripted)
}

// running is for the commands of scripts, which get nothing passed in.
var running agents

func stopAgent(ts *testscript.TestScript, _ bool, _ []string) { agentOf(ts).stop() }

func refuse(ts *testscript.TestScript, _ bool, args []string) {
	a := agentOf(ts)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refused = args[0]
}

func emit(ts *testscript.TestScript, _ bool, args []string) {
	a := agentOf(ts)
	deadline := time.Now().Add(time.Minute)
	a.emits++
	for tick := time.NewTicker(time.Millisecond); a.hub.Counters()["stream_opened"] < a.emits; <-tick.C {
		if time.Now().After(deadline) {
			ts.Fatalf("nobody subscribed")
		}
	}
	d := json.NewDecoder(bytes.NewReader([]byte(ts.ReadFile(args[0]))))
	d.DisallowUnknownFields()
	for d.More() {
		e := &event.Event{}
		ts.Check(d.Decode(e))
		a.seq++
		e.Seq = a.seq
		a.hub.Emit(e)
	}
}

func cgroup(ts *testscript.TestScript, _ bool, _ []string) {
	dir, err := os.MkdirTemp(cgroupMount(), "bailiff-cli-")
	ts.Check(err)
	ts.Setenv("CGROUP", dir)
	ts.Defer(func() { ts.Check(os.Remove(dir)) })
}

func await(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile(args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		cmd := exec.CommandContext(ctx, args[1], args[2:]...)
		cmd.Env = append(os.Environ(), "PATH="+ts.Getenv("PATH"))
		out, _ := cmd.CombinedOutput()
		if want.Match(out) {
			return
		}
		if ctx.Err() != nil {
			ts.Fatalf("no match for %s in:\n%s", args[0], out)
		}
	}
}

func (a *scripted) Status() server.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return server.Status{
		Version: "v1", BootID: "boot", RunID: "run", PID: 42, Backend: "lsm", Mode: a.mode, Revision: "r1", Generation: 3,
		PolicySource: "/etc/bailiff/\x1b[2Jrules", Scope: []string{"/sys/fs/cgroup/a b"}, Rescue: []string{"/usr/sbin/sshd"},
		RuleClasses: map[string]uint32{"kernel": 2, "full": 1}, Counters: map[string]uint64{"events_emitted": 12, "kernel_drop_ring_full_open": 3, "fail_open_queue_full": 1},
		Ring:   server.Ring{Used: 1536, Size: 16 << 20},
		Canary: &server.Canary{Every: 15 * time.Second, Within: 5 * time.Second, Time: time.Now().Add(time.Hour), Stage: "stream", Seen: 1500 * time.Microsecond},
		Spool: &server.SpoolState{Dir: "/var/lib/bailiff/spool", Bytes: 3 << 20, MaxBytes: 1 << 30, Segments: 2, Consumers: []server.Consumer{
			{Name: "archive"}, {Name: "siem", Run: "run", Seq: 5, Behind: 7}, {Name: "old", Run: "gone", Unknown: true},
		}},
		Conditions: []server.Condition{{Code: "policy-stale", Severity: "high", Text: "exec.rego:3: bad\nhint", Remedy: "mend it"}},
	}
}

func (a *scripted) Policy() server.Policy {
	return server.Policy{Revision: "r1", Generation: 3, Source: "/etc/b", Rules: []server.Rule{
		{Ref: event.RuleRef{ID: "first", File: "exec.rego", Line: 6, Title: "A title"}, Hook: event.HookExec, Verdict: event.VerdictDeny, Class: "kernel", Response: "kill"},
		{Ref: event.RuleRef{ID: "second", File: "open.rego", Line: 9}, Hook: event.HookOpen, Verdict: event.VerdictAlert, Class: "full", Undecided: "allow",
			Reasons: []server.Reason{{Code: "L017", File: "open.rego", Line: 10, Why: "no kernel form", Hint: "use =="}}},
	}}
}

func (a *scripted) SetMode(_ context.Context, c server.ModeChange, _ string) (done server.ModeChanged, err error) {
	err = a.do(func() {
		done = server.ModeChanged{Previous: a.mode, HadPrevious: true, Text: fmt.Sprintf("mode is %s, was %s", c.Mode, a.mode)}
		a.mode = c.Mode
	})
	return done, err
}

func (a *scripted) ApplyPolicy(context.Context, server.Apply, string) error { return a.do(func() {}) }

func (a *scripted) Confirm(context.Context, bool, string) (server.Probation, error) {
	return server.Probation{What: "mode", Text: "mode is enforce, was audit"}, a.do(func() {})
}

func (a *scripted) ReloadPolicy(context.Context, server.Reload, string) error { return a.do(func() {}) }

func (a *scripted) do(f func()) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused != "" {
		return errors.New(a.refused)
	}
	f()
	return nil
}

// Record loses what it is told: the server's own tests look at it.
func (a *scripted) Record(event.Notice) {}

// Raise and Clear too: the scripts' agent is as it is.
func (a *scripted) Raise(string, string) {}

func (a *scripted) Clear(string) {}

package server_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// agent is a small one that keeps what it is told.
type agent struct {
	hub *server.Hub

	mu       sync.Mutex
	mode     event.Mode
	refuse   error
	reloads  int
	change   server.ModeChange
	apply    server.Apply
	reverted bool
	notices  []event.Notice
	raised   map[string]string // conditions
}

func (a *agent) Raise(code, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.raised == nil {
		a.raised = map[string]string{}
	}
	a.raised[code] = text
}

func (a *agent) Clear(code string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.raised, code)
}

func (a *agent) condition(code string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.raised[code]
}

func (a *agent) Status() server.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	return server.Status{
		Version: "v0", Backend: "tracepoint", Mode: a.mode, Revision: "r1", Generation: 7,
		Scope: []string{"/sys/fs/cgroup/\xff"}, RuleClasses: map[string]uint32{"kernel": 2}, Counters: map[string]uint64{"events_read": 5},
		Conditions: []server.Condition{{Code: "policy-stale", Text: "bad\xff", Since: time.Unix(9, 0), Severity: "high", Remedy: "mend it"}},
	}
}

func (a *agent) Policy() server.Policy {
	return server.Policy{Revision: "r1", Generation: 7, Source: "/etc/b", Rules: []server.Rule{
		{Ref: event.RuleRef{ID: "a", Line: 3}, Hook: event.HookExec, Verdict: event.VerdictDeny, Class: "kernel"},
		{Ref: event.RuleRef{ID: "b"}, Hook: event.HookOpen, Verdict: event.VerdictAlert, Class: "full", Undecided: "deny",
			Reasons: []server.Reason{{Code: "regex", File: "x.rego", Line: 4, Why: "no", Hint: "do"}}},
	}}
}

func (a *agent) SetMode(_ context.Context, c server.ModeChange, _ string) (server.ModeChanged, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refuse != nil {
		return server.ModeChanged{}, a.refuse
	}
	old := a.mode
	a.mode, a.change = c.Mode, c
	return server.ModeChanged{Previous: old, HadPrevious: true, Text: "done"}, nil
}

func (a *agent) ApplyPolicy(_ context.Context, p server.Apply, _ string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.apply = p
	return a.refuse
}

func (a *agent) Confirm(_ context.Context, revert bool, _ string) (server.Probation, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reverted = revert
	return server.Probation{What: "mode", Text: "x\xff", By: "uid 0", Since: time.Unix(5, 0), Until: time.Unix(6, 0)}, a.refuse
}

func (a *agent) ReloadPolicy(context.Context, server.Reload, string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reloads++
	return a.refuse
}

func (a *agent) Record(n event.Notice) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.notices = append(a.notices, n)
}

func (a *agent) recorded() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.notices)
}

func (a *agent) last(t *testing.T) event.Notice {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.notices) == 0 {
		t.Fatal("nothing was recorded")
	}
	return a.notices[len(a.notices)-1]
}

// serve runs a server until the test ends.
func serve(t *testing.T, o server.Options) (*agent, *server.Server) {
	t.Helper()
	return serveHub(t, server.NewHub(server.Identity{Version: "v0", BootID: "boot", RunID: "run"}), o)
}

// serveHub is serve with a hub of the test's own.
func serveHub(t *testing.T, hub *server.Hub, o server.Options) (*agent, *server.Server) {
	t.Helper()
	a := &agent{hub: hub}
	o.Agent, o.Hub = a, a.hub
	s, err := server.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	s.SetServing(true)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a, s
}

func dial(t *testing.T, target string, creds credentials.TransportCredentials, o ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(target, append(o, grpc.WithTransportCredentials(creds))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// serveAgent serves another agent than the small one, on a socket.
func serveAgent(t *testing.T, a server.Agent) *grpc.ClientConn {
	t.Helper()
	sock := filepath.Join(t.TempDir(), "sock")
	s, err := server.New(t.Context(), server.Options{Agent: a, Hub: server.NewHub(server.Identity{}), Socket: sock})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return dial(t, "unix:"+sock, insecure.NewCredentials())
}

func serveUnix(t *testing.T) (*agent, *grpc.ClientConn) {
	t.Helper()
	sock := filepath.Join(t.TempDir(), "d", "sock")
	a, _ := serve(t, server.Options{Socket: sock})
	return a, dial(t, "unix:"+sock, insecure.NewCredentials())
}

// subscribe returns a stream whose subscription stands.
func subscribe(t *testing.T, c grpc.ClientConnInterface, r *bailiffv1.EventsRequest) (grpc.ServerStreamingClient[bailiffv1.EventsResponse], *bailiffv1.Start) {
	t.Helper()
	s, err := bailiffv1.NewEventServiceClient(c).Events(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return s, m.GetRecords()[0].GetStart()
}

var errRefuse = errors.New("kernel says no\xff")

func sample(seq uint64) *event.Event {
	return &event.Event{
		Seq: seq, Time: time.Unix(100, 5).UTC(), Boot: 77, Hook: event.HookExec,
		Process: event.Process{
			PID: 10, TID: 11, PPID: 1, ExecID: 1 << 63, ParentID: 2,
			Exe:    event.File{ID: event.FileID{Dev: 1, Gen: 2, Ino: 3}, Path: "/bin/sh", Names: []string{"/bin/sh", "/usr/bin/sh"}, Mode: 0o100755, FsType: "ext4"},
			Parent: event.File{Path: "/sbin/init"}, Ancestry: []string{"/sbin/init", "/x\xfe\\"}, AncestorNames: [][]string{{"/sbin/init"}, {"/x\xfe\\", "/y"}}, Shell: "/bin/sh\xfe", AncestorsCut: true, Comm: "sh\n\xff",
			UID: 1, EUID: 2, GID: 3, EGID: 4, LoginUID: 5, CapEff: 6, CgroupID: 42, Cgroup: "/a/b", MntNS: 7, PidNS: 8, UserNS: 9, TTY: 10, Start: 11,
			Traits: []string{"container"}, Stdio: []string{"stdin_socket"},
		},
		File: &event.File{Path: "/tmp/ev\\il\xff", Unresolved: true, UID: 1, GID: 2, Nlink: 3, FsMagic: 4, DirMode: 5, DirUID: 6, Traits: []string{"setuid"}, Identities: []string{"shadow"}, SHA256: "ab12", At: "/mo\xffved"},
		Exec: &event.Exec{ExecID: 12, Args: []string{`a\x41`, "\x80"}, ArgsTotal: 9, ArgsCut: true, Env: map[string]string{"K": "v\xff", `\x4b`: ""},
			EnvCut: true, Cwd: "/", OpenedAs: "./evil", Script: "/s", Comm: "evil"},
		CgroupProcs: 13, CgroupRate: 14, FileAge: 15,
		Decision: event.Decision{Verdict: event.VerdictDeny, Effect: event.EffectRefused, Source: event.SourceTable, Mode: event.ModeEnforce,
			Rule:   &event.RuleRef{ID: "r", Path: "bailiff.exec.deny", File: "f", Line: 3, Title: "t", Severity: "high", Attack: []string{"T1"}},
			Others: []event.RuleRef{{ID: "o"}}, Message: "m", Revision: "rev", Generation: 14, Late: true, Undecided: true, FailOpen: "x", Divergence: true},
	}
}

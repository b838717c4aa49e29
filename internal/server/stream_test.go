package server_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// TestSlowClientIsTold: a client that does not read loses its own oldest
// events; nobody waits for it, another client gets everything, and what it is
// sent in the end adds up exactly.
func TestSlowClientIsTold(t *testing.T) {
	const total, buffer = 20000, 100
	a, conn := serveUnix(t)
	slow, start := subscribe(t, conn, &bailiffv1.EventsRequest{Buffer: buffer})
	if start.GetBuffer() != buffer || start.GetAfterSeq() != 0 || start.GetRunId() != "run" || start.GetBootId() != "boot" {
		t.Fatalf("start is %v", start)
	}
	quick, _ := subscribe(t, conn, &bailiffv1.EventsRequest{Buffer: total})
	for i := range uint64(total) {
		a.hub.Emit(sample(i + 1)) // returns though nobody reads
	}

	if got, gaps := drain(t, quick, total); got != total || gaps != 0 {
		t.Errorf("the quick client got %d events and %d gaps", got, gaps)
	}
	got, gaps := drain(t, slow, total)
	if gaps == 0 || got >= total {
		t.Errorf("the slow client got %d events and %d gaps: the test did not outrun it", got, gaps)
	}
	st, err := bailiffv1.NewAgentServiceClient(conn).Status(t.Context(), &bailiffv1.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if st.GetCounters()["stream_lost"] != uint64(total-got) || st.GetLastSeq() != total || st.GetSubscribers() != 2 {
		t.Errorf("status has %v, last %d, subscribers %d", st.GetCounters(), st.GetLastSeq(), st.GetSubscribers())
	}
}

// drain reads until the event with the last sequence number, checking that
// events and gaps stand in order and leave nothing unaccounted for.
func drain(t *testing.T, s grpc.ServerStreamingClient[bailiffv1.EventsResponse], last uint64) (events, gaps int) {
	t.Helper()
	for next := uint64(1); next <= last; {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range m.GetRecords() {
			if g := r.GetGap(); g != nil {
				if g.GetFirstSeq() != next || g.GetLastSeq() != next+g.GetCount()-1 || g.GetReason() != bailiffv1.GapReason_GAP_REASON_SLOW_CLIENT {
					t.Fatalf("gap %v where %d is next", g, next)
				}
				gaps++
				next = g.GetLastSeq() + 1
				continue
			}
			if r.GetEvent().GetSeq() != next {
				t.Fatalf("event %d where %d is next", r.GetEvent().GetSeq(), next)
			}
			events++
			next++
		}
	}
	return events, gaps
}

// TestNumbersThatAreMissing: acts of which the kernel could not tell have
// numbers; a subscriber is told which, also if its own buffer is full.
func TestNumbersThatAreMissing(t *testing.T) {
	a, conn := serveUnix(t)
	s, _ := subscribe(t, conn, &bailiffv1.EventsRequest{})
	a.hub.Emit(sample(1))
	a.hub.Emit(sample(12))
	next := uint64(1)
	for next <= 12 {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range m.GetRecords() {
			if g := r.GetGap(); g != nil {
				if g.GetReason() != bailiffv1.GapReason_GAP_REASON_RING_FULL || g.GetFirstSeq() != 2 || g.GetLastSeq() != 11 || g.GetCount() != 10 || next != 2 {
					t.Fatalf("gap %v where %d is next", g, next)
				}
				next = 12
				continue
			}
			if r.GetEvent().GetSeq() != next {
				t.Fatalf("event %d where %d is next", r.GetEvent().GetSeq(), next)
			}
			next++
		}
	}
}

func TestStreamEndsWithTheAgent(t *testing.T) {
	a, conn := serveUnix(t)
	s, _ := subscribe(t, conn, &bailiffv1.EventsRequest{})
	a.hub.Emit(sample(1))
	a.hub.Close()
	m, err := s.Recv()
	if err != nil || m.GetRecords()[0].GetEvent().GetSeq() != 1 {
		t.Errorf("the last event did not come: %v, %v", m, err)
	}
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable || errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
	s, err = bailiffv1.NewEventServiceClient(conn).Events(t.Context(), &bailiffv1.EventsRequest{})
	if err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a new subscription gave %v", err)
	}
}

func TestSubscribersAreBounded(t *testing.T) {
	_, conn := serveUnix(t)
	for range server.MaxSubscribers {
		subscribe(t, conn, &bailiffv1.EventsRequest{Buffer: 1})
	}
	// One connection has room for no more streams: another one asks.
	other := dial(t, conn.Target(), insecure.NewCredentials())
	s, err := bailiffv1.NewEventServiceClient(other).Events(t.Context(), &bailiffv1.EventsRequest{})
	if err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
}

func TestFilters(t *testing.T) {
	exec := sample(1)
	fork := &event.Event{Seq: 2, Hook: event.HookFork, Fork: &event.Fork{PID: 99}, Process: event.Process{PID: 5, Cgroup: "/a/bc", CgroupID: 43},
		Decision: event.Decision{Verdict: event.VerdictAllow}}
	open := &event.Event{Seq: 3, Hook: event.HookOpen, File: &event.File{Path: "/etc/shadow"}, Process: event.Process{PID: 6, Exe: event.File{Path: "/bin/cat"}},
		Decision: event.Decision{Verdict: event.VerdictDeny, Rule: &event.RuleRef{ID: "shadow"}}}
	exit := &event.Event{Seq: 4, Hook: event.HookExit, Exit: &event.Exit{}, Process: event.Process{PID: 6}}
	unjudged := &event.Event{Seq: 5, Hook: event.HookExec, File: &event.File{Path: "/x"}, Decision: event.Decision{Verdict: event.VerdictAllow, FailOpen: "queue-full"}}
	notice := &event.Event{Seq: 6, Agent: &event.Notice{Code: "started"}}
	all := []*event.Event{exec, fork, open, exit, unjudged, notice}

	a, conn := serveUnix(t)
	for _, c := range []struct {
		name string
		req  *bailiffv1.EventsRequest
		want []uint64
	}{
		{"everything", &bailiffv1.EventsRequest{}, []uint64{1, 2, 3, 4, 5, 6}},
		{"hook", &bailiffv1.EventsRequest{Hooks: []bailiffv1.Hook{bailiffv1.Hook_HOOK_FORK, bailiffv1.Hook_HOOK_EXIT}}, []uint64{2, 4, 6}},
		{"verdict", &bailiffv1.EventsRequest{Verdicts: []bailiffv1.Verdict{bailiffv1.Verdict_VERDICT_DENY}}, []uint64{1, 3, 6}},
		{"would deny", &bailiffv1.EventsRequest{Verdicts: []bailiffv1.Verdict{bailiffv1.Verdict_VERDICT_DENY}, Effects: []bailiffv1.Effect{bailiffv1.Effect_EFFECT_NONE}}, []uint64{3, 6}},
		{"rule", &bailiffv1.EventsRequest{RuleIds: []string{"shadow"}, WithoutNotices: true}, []uint64{3}},
		{"other rule that fired", &bailiffv1.EventsRequest{RuleIds: []string{"o"}, WithoutNotices: true}, []uint64{1}},
		{"pid", &bailiffv1.EventsRequest{Pids: []int32{6}, WithoutNotices: true}, []uint64{3, 4}},
		{"pid of the child", &bailiffv1.EventsRequest{Pids: []int32{99}, WithoutNotices: true}, []uint64{2}},
		{"cgroup id", &bailiffv1.EventsRequest{CgroupIds: []uint64{43}, WithoutNotices: true}, []uint64{2}},
		{"cgroup prefix is whole components", &bailiffv1.EventsRequest{CgroupPrefixes: []string{"/a/b/"}, WithoutNotices: true}, []uint64{1}},
		{"path", &bailiffv1.EventsRequest{PathPrefixes: []string{"/etc/"}, WithoutNotices: true}, []uint64{3}},
		{"path of the script", &bailiffv1.EventsRequest{PathPrefixes: []string{"/s"}, WithoutNotices: true}, []uint64{1}},
		{"exe by its other name", &bailiffv1.EventsRequest{ExePrefixes: []string{"/usr/bin/"}, WithoutNotices: true}, []uint64{1}},
		{"findings", &bailiffv1.EventsRequest{FindingsOnly: true}, []uint64{1, 3, 5, 6}},
		{"parts are joined by and", &bailiffv1.EventsRequest{Pids: []int32{6}, Hooks: []bailiffv1.Hook{bailiffv1.Hook_HOOK_OPEN}, WithoutNotices: true}, []uint64{3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := subscribe(t, conn, c.req)
			for _, e := range all {
				a.hub.Emit(e)
			}
			var got []uint64
			for len(got) < len(c.want) {
				m, err := s.Recv()
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range m.GetRecords() {
					got = append(got, r.GetEvent().GetSeq())
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestFilterIsRefused(t *testing.T) {
	_, conn := serveUnix(t)
	for _, r := range []*bailiffv1.EventsRequest{
		{Hooks: []bailiffv1.Hook{0}},
		{Verdicts: []bailiffv1.Verdict{77}},
		{Effects: []bailiffv1.Effect{77}},
		{Pids: make([]int32, 257)},
	} {
		s, err := bailiffv1.NewEventServiceClient(conn).Events(t.Context(), r)
		if err == nil {
			_, err = s.Recv()
		}
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v gave %v", r, err)
		}
	}
}

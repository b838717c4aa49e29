package server_test

import (
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/spool"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// serveSpool is serveUnix with a spool in dir. end closes it well.
func serveSpool(t *testing.T, dir, run string) (a *agent, conn *grpc.ClientConn, end func()) {
	t.Helper()
	l, err := spool.Open(spool.Options{Dir: dir, Run: event.Run{ID: run, Boot: "boot"}, Linger: time.Millisecond, QueueBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(t.TempDir(), "sock")
	hub := server.NewHub(server.Identity{Version: "v0", BootID: "boot", RunID: run})
	hub.SetSpool(l)
	a, _ = serveHub(t, hub, server.Options{Socket: sock})
	end = func() {
		if err := l.Close(20 * time.Second); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return a, dial(t, "unix:"+sock, insecure.NewCredentials()), end
}

// receive reads n events and returns the last one's number and run; there must
// be no hole and no gap within a run.
func receive(t *testing.T, s grpc.ServerStreamingClient[bailiffv1.EventsResponse], run string, next uint64, n int) (string, uint64) {
	t.Helper()
	for n > 0 {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range m.GetRecords() {
			switch {
			case r.GetStart() != nil:
				run, next = r.GetStart().GetRunId(), r.GetStart().GetAfterSeq()+1
			case r.GetGap() != nil:
				t.Fatalf("gap %v", r.GetGap())
			default:
				e := r.GetEvent()
				if e.GetSeq() != next || !proto.Equal(e, encode(t, sample(next))) {
					t.Fatalf("event %v where %d of run %s is next", e, next, run)
				}
				next++
				n--
			}
		}
	}
	return run, next - 1
}

// TestReplayHasNoSeam: a client reads the past of two runs and goes on with what
// happens, and goes on again where it had acknowledged.
func TestReplayHasNoSeam(t *testing.T) {
	dir := t.TempDir()
	a, _, end := serveSpool(t, dir, "one")
	for i := range uint64(1000) {
		a.hub.Emit(sample(i + 1))
	}
	end()
	a, conn, _ := serveSpool(t, dir, "two")
	for i := range uint64(500) {
		a.hub.Emit(sample(i + 1))
	}
	s, start := subscribe(t, conn, &bailiffv1.EventsRequest{After: &bailiffv1.Cursor{RunId: "one", Seq: 900}})
	if start.GetRunId() != "two" {
		t.Errorf("start is %v", start)
	}
	go func() {
		for i := range uint64(500) {
			a.hub.Emit(sample(i + 501))
		}
	}()
	if run, seq := receive(t, s, "", 0, 100+1000); run != "two" || seq != 1000 {
		t.Errorf("ended at %d of %s", seq, run)
	}

	client := bailiffv1.NewEventServiceClient(conn)
	s, _ = subscribe(t, conn, &bailiffv1.EventsRequest{Consumer: "siem"})
	receive(t, s, "", 0, 1500)
	if _, err := client.Acknowledge(t.Context(), &bailiffv1.AcknowledgeRequest{Consumer: "siem", Through: &bailiffv1.Cursor{RunId: "two", Seq: 400}}); err != nil {
		t.Fatal(err)
	}
	s, start = subscribe(t, conn, &bailiffv1.EventsRequest{Consumer: "siem"})
	if start.GetRunId() != "two" || start.GetAfterSeq() != 400 {
		t.Errorf("start is %v", start)
	}
	receive(t, s, "two", 401, 600)
	for _, r := range []*bailiffv1.AcknowledgeRequest{
		{Consumer: "siem", Through: &bailiffv1.Cursor{RunId: "nobody", Seq: 4}}, {Consumer: "../x", Through: &bailiffv1.Cursor{RunId: "two"}}, {Consumer: "siem"},
	} {
		if _, err := client.Acknowledge(t.Context(), r); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v gave %v", r, err)
		}
	}
}

// TestReplayFilters: the same events pass as in the live stream, and a cursor
// that nobody knows begins with a gap that says so.
func TestReplayFilters(t *testing.T) {
	a, conn, _ := serveSpool(t, t.TempDir(), "one")
	for i := range uint64(200) {
		e := sample(i + 1)
		if i%2 == 0 {
			e.File.Path, e.File.Names, e.Exec.Script = "/elsewhere", nil, ""
		}
		a.hub.Emit(e)
	}
	s, _ := subscribe(t, conn, &bailiffv1.EventsRequest{After: &bailiffv1.Cursor{RunId: "unknown", Seq: 3}, PathPrefixes: []string{"/elsewhere"}})
	got, gaps := 0, 0
	for got < 100 {
		m, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range m.GetRecords() {
			if g := r.GetGap(); g != nil && g.GetReason() == bailiffv1.GapReason_GAP_REASON_UNKNOWN_CURSOR && g.GetAtLeast() {
				gaps++
			}
			if e := r.GetEvent(); e != nil {
				if e.GetFile().GetPath() != "/elsewhere" {
					t.Fatalf("got %v", e)
				}
				got++
			}
		}
	}
	if gaps != 1 {
		t.Errorf("%d gaps", gaps)
	}
}

// TestReplayEndsWithTheAgent: a reader of the spool gets everything up to the
// end, and then that the agent stops.
func TestReplayEndsWithTheAgent(t *testing.T) {
	a, conn, end := serveSpool(t, t.TempDir(), "one")
	s, _ := subscribe(t, conn, &bailiffv1.EventsRequest{After: &bailiffv1.Cursor{}})
	for i := range uint64(300) {
		a.hub.Emit(sample(i + 1))
	}
	end()
	receive(t, s, "one", 1, 300)
	if _, err := s.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestNoSpool(t *testing.T) {
	_, conn := serveUnix(t)
	c := bailiffv1.NewEventServiceClient(conn)
	s, err := c.Events(t.Context(), &bailiffv1.EventsRequest{Consumer: "x"})
	if err == nil {
		_, err = s.Recv()
	}
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %v", err)
	}
	if _, err := c.Acknowledge(t.Context(), &bailiffv1.AcknowledgeRequest{Consumer: "x"}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("got %v", err)
	}
}

// BenchmarkEmitKept is what keeping an event costs the enforcer: encoding it
// once, and the queue of the spool.
func BenchmarkEmitKept(b *testing.B) {
	l, err := spool.Open(spool.Options{Dir: b.TempDir(), Run: event.Run{ID: "a"}, MaxBytes: 256 << 20, QueueBytes: 512 << 20})
	if err != nil {
		b.Fatal(err)
	}
	hub := server.NewHub(server.Identity{RunID: "a"})
	hub.SetSpool(l)
	e := sample(1)
	e.Decision.Verdict = event.VerdictAllow // most are, and of plain text
	e.Process.Comm, e.Process.Ancestry, e.File.Path = "sh", []string{"/sbin/init"}, "/tmp/evil"
	e.Exec.Args, e.Exec.Env = []string{"evil", "--quick"}, nil
	b.ReportAllocs()
	for seq := uint64(1); b.Loop(); seq++ {
		e.Seq = seq
		hub.Emit(e)
	}
	if err := l.Close(time.Minute); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(l.Counters()["spool_lost_queue"]), "lost")
}

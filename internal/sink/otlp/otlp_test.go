package otlp

import (
	"context"
	"encoding/json"
	"net"
	"slices"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/dial"
	"example.com/bailiff/internal/sink/ecs"
	"example.com/bailiff/internal/sink/sinktest"
)

// TestCollector: a real Collector over TLS with client certificates, that goes
// away and comes back.
func TestCollector(t *testing.T) {
	certs := sinktest.MakeCerts(t)
	c := sinktest.NewCollector(t, certs)
	o := Options{Address: c.Address, TLS: dial.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey}, Host: sinktest.Host(), Timeout: 5 * time.Second}
	r := sinktest.NewRig(t)
	m := ecs.New(o.Host)
	r.Start(m, New(o))
	r.Emit(2000)
	r.Drained()
	r.Emit(1500)
	c.Stop()
	sinktest.Eventually(t, "the receiver is missed", func() bool { return r.Trouble() != nil })
	r.Emit(1500)
	r.Restart() // the agent, too
	r.Start(m, New(o))
	c.Start()
	r.Emit(100)
	r.Drained()
	var ids []string
	for _, rec := range c.Records() {
		ids = append(ids, rec.ID())
		if !json.Valid([]byte(rec.Body.StringValue)) || rec.EventName != "bailiff.process.exec" {
			t.Fatalf("record %+v", rec)
		}
	}
	t.Logf("%d records came twice", sinktest.Compare(t, ids, r.All()))
	rec := c.Records()[9]
	if rec.SeverityNumber != 17 || rec.Attribute("bailiff.verdict") != "deny" || rec.Attribute("security_rule.uuid") != "tenth" ||
		rec.Resource["service.name"] != "bailiff" || rec.Resource["host.name"] != "web-1.example.com" {
		t.Errorf("record %+v", rec)
	}
}

// TestEveryKind: the Collector takes every kind of record, whatever is in it.
func TestEveryKind(t *testing.T) {
	certs := sinktest.MakeCerts(t)
	c := sinktest.NewCollector(t, certs)
	s := New(Options{Address: c.Address, TLS: dial.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey}, Host: sinktest.Host(), NoBody: true})
	defer s.Close()
	var records []sink.Record
	var want []string
	for _, n := range sinktest.Events() {
		records = ecs.New(sinktest.Host()).Map(records, n.Item)
		want = append(want, n.Item.ID())
	}
	if rejected, err := s.Send(t.Context(), records); err != nil || rejected != 0 {
		t.Fatalf("rejected %d, %v", rejected, err)
	}
	var got []string
	for _, r := range c.Records() {
		got = append(got, r.ID())
	}
	if again := sinktest.Compare(t, got, want); again != 0 {
		t.Errorf("%d twice", again)
	}
}

// picky is a receiver that finds some records invalid, which a Collector never
// does.
type picky struct {
	collector.UnimplementedLogsServiceServer
	bad []string
	got []string
}

func (p *picky) Export(_ context.Context, r *collector.ExportLogsServiceRequest) (*collector.ExportLogsServiceResponse, error) {
	var ids []string
	for _, rec := range r.GetResourceLogs()[0].GetScopeLogs()[0].GetLogRecords() {
		id := rec.GetAttributes()[0].GetValue().GetStringValue()
		if slices.Contains(p.bad, id) {
			return nil, status.Error(codes.InvalidArgument, "bad record")
		}
		ids = append(ids, id)
	}
	p.got = append(p.got, ids...)
	return &collector.ExportLogsServiceResponse{}, nil
}

// TestInvalid: one bad record does not keep the others.
func TestInvalid(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var records []sink.Record
	var ids []string
	for _, n := range sinktest.Events() {
		records = ecs.New(sinktest.Host()).Map(records, n.Item)
		ids = append(ids, n.Item.ID())
	}
	p := &picky{bad: []string{ids[3], ids[17]}}
	srv := grpc.NewServer()
	collector.RegisterLogsServiceServer(srv, p)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	s := New(Options{Address: l.Addr().String(), Plain: true})
	rejected, err := s.Send(t.Context(), records)
	if err != nil || rejected != 2 {
		t.Errorf("rejected %d, %v", rejected, err)
	}
	srv.Stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	sinktest.Compare(t, p.got, slices.DeleteFunc(ids, func(id string) bool { return slices.Contains(p.bad, id) }))
	if _, err := s.Send(t.Context(), records[:1]); err == nil {
		t.Error("nobody is there, and no error")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

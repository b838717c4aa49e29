package server_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/stats"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// TestManyConsumers: of many clients at once, live and out of the spool, those
// that do not read hold up neither the agent nor the others, each of which gets
// every event.
func TestManyConsumers(t *testing.T) {
	const total, each = 20000, 6
	a, conn, _ := serveSpool(t, t.TempDir(), "run")
	type client = grpc.ServerStreamingClient[bailiffv1.EventsResponse]
	var quick []client
	for range each {
		// Each has its connection: a window that one does not empty is its own.
		other := dial(t, conn.Target(), insecure.NewCredentials())
		subscribe(t, other, &bailiffv1.EventsRequest{Buffer: 10})                                                             // never reads
		subscribe(t, dial(t, conn.Target(), insecure.NewCredentials()), &bailiffv1.EventsRequest{After: &bailiffv1.Cursor{}}) // nor does this one
		live, _ := subscribe(t, dial(t, conn.Target(), insecure.NewCredentials()), &bailiffv1.EventsRequest{Buffer: total})
		kept, _ := subscribe(t, dial(t, conn.Target(), insecure.NewCredentials()), &bailiffv1.EventsRequest{After: &bailiffv1.Cursor{}})
		quick = append(quick, live, kept)
	}
	for i := range uint64(total) {
		a.hub.Emit(sample(i + 1)) // returns, though many do not read
	}
	var wg sync.WaitGroup
	for _, s := range quick {
		wg.Go(func() {
			for next := uint64(1); next <= total; {
				m, err := s.Recv()
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range m.GetRecords() {
					if r.GetStart() != nil {
						continue
					}
					if r.GetEvent().GetSeq() != next {
						t.Errorf("%v where %d is next", r, next)
						return
					}
					next++
				}
			}
		})
	}
	wg.Wait()
}

// bytesIn counts what a client receives, before and after decompression.
type bytesIn struct{ plain, wire atomic.Int64 }

func (b *bytesIn) HandleRPC(_ context.Context, s stats.RPCStats) {
	if in, ok := s.(*stats.InPayload); ok {
		b.plain.Add(int64(in.Length))
		b.wire.Add(int64(in.CompressedLength))
	}
}
func (*bytesIn) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (*bytesIn) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (*bytesIn) HandleConn(context.Context, stats.ConnStats)                       {}

// TestCompression: a client that asks with gzip gets gzip.
func TestCompression(t *testing.T) {
	a, plain := serveUnix(t)
	var n bytesIn
	conn := dial(t, plain.Target(), insecure.NewCredentials(), grpc.WithStatsHandler(&n), grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	s, _ := subscribe(t, conn, &bailiffv1.EventsRequest{Buffer: 1000})
	for i := range uint64(1000) {
		a.hub.Emit(sample(i + 1))
	}
	if got, gaps := drain(t, s, 1000); got != 1000 || gaps != 0 {
		t.Fatalf("%d events, %d gaps", got, gaps)
	}
	if n.wire.Load()*3 > n.plain.Load() {
		t.Errorf("%d bytes came for %d", n.wire.Load(), n.plain.Load())
	}
}

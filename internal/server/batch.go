package server

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// Bounds of one message: enough to make its cost small for each event, and far
// below the 4 MiB that clients take by default, also if one large event comes last.
const (
	maxBatch      = 512
	maxBatchBytes = 256 << 10
)

// batch is a message of the stream in the making. Events go into it as the
// bytes that they are in the spool and in the buffers of subscribers: nothing
// is decoded in order to be encoded again.
type batch struct {
	wire   wire
	n      int    // records
	events uint64 // of them
	lost   uint64 // in gaps of this subscriber
}

func (b *batch) full() bool { return b.n >= maxBatch || len(b.wire.b) >= maxBatchBytes }

// event adds a record with an event in its wire form.
func (b *batch) event(e []byte) {
	b.wire.msg(1, func() {
		b.wire.tag(1, wireBytes)
		b.wire.raw(e)
	})
	b.n++
	b.events++
}

func (b *batch) gap(g *bailiffv1.Gap) {
	if g.GetReason() == bailiffv1.GapReason_GAP_REASON_SLOW_CLIENT {
		b.lost += g.GetCount()
	}
	b.record(&bailiffv1.Record{Record: &bailiffv1.Record_Gap{Gap: g}})
}

func (b *batch) start(s *bailiffv1.Start) {
	b.record(&bailiffv1.Record{Record: &bailiffv1.Record_Start{Start: s}})
}

func (b *batch) record(r *bailiffv1.Record) {
	m, err := proto.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("encode record: %v", err)) // all text in it is ours; the handler's recover answers
	}
	b.wire.tag(1, wireBytes)
	b.wire.raw(m)
	b.n++
}

// send sends what is there, if anything, and empties the batch. The bytes
// travel as fields that the message does not know, which are sent as they are;
// gRPC has copied them when Send returns, for there is no stats handler.
func (b *batch) send(out grpc.ServerStreamingServer[bailiffv1.EventsResponse], h *Hub) error {
	if b.n == 0 {
		return nil
	}
	m := &bailiffv1.EventsResponse{}
	m.ProtoReflect().SetUnknown(b.wire.b)
	if err := out.Send(m); err != nil {
		return err
	}
	h.streamed.Add(b.events)
	h.lost.Add(b.lost)
	*b = batch{wire: wire{b: b.wire.b[:0]}}
	return nil
}

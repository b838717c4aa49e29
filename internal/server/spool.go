package server

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// Spool is what the server needs of a durable log. *spool.Log is the real one.
type Spool interface {
	// Append takes the wire form of the act with this number and never waits;
	// urgent ones are made to last at once. Numbers that are left out are lost.
	Append(seq uint64, b []byte, urgent bool)
	// AppendNotice is Append for a record about the agent itself.
	AppendNotice(seq uint64, b []byte)
	// Follow gives what comes after a position, past and future, in order.
	Follow(ctx context.Context, after event.Position, yield func([]event.Kept) error) error
	// Acknowledged returns what a consumer has said to have; the zero
	// position if nothing.
	Acknowledged(consumer string) (event.Position, error)
	// Acknowledge stores it.
	Acknowledge(consumer string, through event.Position) error
}

// SetSpool makes the hub keep every event. It is called before the first one.
func (h *Hub) SetSpool(s Spool) { h.spool = s }

// keep puts an event into the spool. Denials and records about the agent are
// what one would look for after a machine went down: they are made to last.
func (h *Hub) keep(e *event.Event) {
	h.buf = AppendEvent(h.buf[:0], e)
	if e.Agent != nil {
		h.spool.AppendNotice(e.Seq, h.buf)
		return
	}
	h.spool.Append(e.Seq, h.buf, e.Decision.Verdict == event.VerdictDeny)
}

var errNoSpool = status.Error(codes.FailedPrecondition, "the agent keeps no spool: start it with --spool DIR")

// replay streams from the spool. Nothing is kept for the client: while it does
// not read, the spool is not read either.
func (s *eventService) replay(r *bailiffv1.EventsRequest, f *Filter, out grpc.ServerStreamingServer[bailiffv1.EventsResponse]) error {
	if s.hub.spool == nil {
		return errNoSpool
	}
	after := positionOf(r.GetAfter())
	if r.GetAfter() == nil {
		var err error
		if after, err = s.hub.spool.Acknowledged(r.GetConsumer()); err != nil {
			return status.Error(codes.InvalidArgument, utf8Of(err.Error()))
		}
	}
	if err := s.hub.enter(); err != nil {
		return err
	}
	defer s.hub.leave()
	p := replayer{s: s, filter: f, out: out, plain: proto.Size(plainRequest(r)) == 0}
	// The first record is a Start even if nothing is there yet.
	if err := p.start(s.hub.current(), after); err != nil {
		return err
	}
	err := s.hub.spool.Follow(out.Context(), after, p.take)
	switch {
	case err == nil:
		return errStopping
	case out.Context().Err() != nil:
		return status.FromContextError(out.Context().Err()).Err()
	}
	return err
}

// plainRequest is r without what is no filter.
func plainRequest(r *bailiffv1.EventsRequest) *bailiffv1.EventsRequest {
	c := proto.CloneOf(r)
	c.After, c.Consumer, c.Buffer = nil, "", 0
	return c
}

// replayer turns what the spool gives into messages.
type replayer struct {
	s      *eventService
	filter *Filter
	plain  bool // the filter takes everything
	out    grpc.ServerStreamingServer[bailiffv1.EventsResponse]
	run    string // of the last Start
	batch  batch
}

// start says whose events follow. The first one also says that the
// subscription stands: if it goes on in an older run, another one follows.
func (p *replayer) start(run event.Run, after event.Position) error {
	h := p.s.hub
	if after.Run != run.ID {
		after.Seq = 0
	} else {
		p.run = run.ID
	}
	p.batch.start(&bailiffv1.Start{AgentVersion: h.Version, BootId: run.Boot, RunId: run.ID, AfterSeq: after.Seq})
	return p.batch.send(p.out, h)
}

func (p *replayer) take(ks []event.Kept) error {
	for _, k := range ks {
		if g := k.Gap; g != nil {
			p.batch.gap(&bailiffv1.Gap{
				Count: g.Count, FirstSeq: g.First, LastSeq: g.Last, RunId: k.Run.ID, AtLeast: g.AtLeast,
				Reason: bailiffv1.GapReason(g.Reason) + bailiffv1.GapReason_GAP_REASON_SLOW_CLIENT,
			})
			continue
		}
		if !p.plain {
			e := &bailiffv1.Event{}
			if err := proto.Unmarshal(k.Data, e); err != nil {
				return status.Errorf(codes.DataLoss, "event %d of run %s is not one: %v", k.Seq, k.Run.ID, err)
			}
			if !p.filter.Match(Decode(e)) {
				continue
			}
		}
		if k.Run.ID != p.run {
			p.run = k.Run.ID
			p.batch.start(&bailiffv1.Start{AgentVersion: p.s.hub.Version, BootId: k.Run.Boot, RunId: k.Run.ID, AfterSeq: k.Seq - 1})
		}
		p.batch.event(k.Data)
		if p.batch.full() {
			if err := p.batch.send(p.out, p.s.hub); err != nil {
				return err
			}
		}
	}
	return p.batch.send(p.out, p.s.hub)
}

func positionOf(c *bailiffv1.Cursor) event.Position {
	return event.Position{Run: c.GetRunId(), Seq: c.GetSeq()}
}

// Acknowledge implements bailiff.v1.EventService.
func (s *eventService) Acknowledge(_ context.Context, r *bailiffv1.AcknowledgeRequest) (*bailiffv1.AcknowledgeResponse, error) {
	if s.hub.spool == nil {
		return nil, errNoSpool
	}
	if err := s.hub.spool.Acknowledge(r.GetConsumer(), positionOf(r.GetThrough())); err != nil {
		return nil, status.Error(codes.InvalidArgument, utf8Of(err.Error()))
	}
	return &bailiffv1.AcknowledgeResponse{}, nil
}

func (h *Hub) current() event.Run { return event.Run{ID: h.RunID, Boot: h.BootID} }

// enter and leave count a stream that has no buffer in the hub.
func (h *Hub) enter() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errStopping
	}
	if len(h.subs)+h.readers >= MaxSubscribers {
		return errTooMany()
	}
	h.readers++
	h.opened.Add(1)
	return nil
}

func (h *Hub) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.readers--
}

func errTooMany() error {
	return status.Errorf(codes.ResourceExhausted, "there are %d subscribers already", MaxSubscribers)
}

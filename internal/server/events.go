package server

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// maxBatch is the number of records in one message: enough to make the cost of
// a message small, few enough to stay far below the size limits of clients.
const maxBatch = 64

// eventService implements bailiff.v1.EventService on a hub.
type eventService struct {
	bailiffv1.UnimplementedEventServiceServer
	hub *Hub
}

// Events sends what the filter lets through until the client goes or the agent
// stops. Only this goroutine waits for the client.
func (s *eventService) Events(r *bailiffv1.EventsRequest, out grpc.ServerStreamingServer[bailiffv1.EventsResponse]) error {
	f, err := filterOf(r)
	if err != nil {
		return err
	}
	if r.GetAfter() != nil || r.GetConsumer() != "" {
		return s.replay(r, &f, out)
	}
	sub, start, err := s.hub.subscribe(f, r.GetBuffer())
	if err != nil {
		return err
	}
	defer s.hub.unsubscribe(sub)
	batch := []*bailiffv1.Record{{Record: &bailiffv1.Record_Start{Start: start}}}
	for open := true; ; {
		if len(batch) > 0 {
			if err := out.Send(&bailiffv1.EventsResponse{Records: batch}); err != nil {
				return err
			}
			s.count(batch)
		}
		if !open {
			return errStopping
		}
		select {
		case <-sub.ring.more:
		case <-out.Context().Done():
			return status.FromContextError(out.Context().Err()).Err()
		}
		batch, open = sub.ring.take(nil, maxBatch)
	}
}

func (s *eventService) count(batch []*bailiffv1.Record) {
	for _, r := range batch {
		switch {
		case r.GetEvent() != nil:
			s.hub.streamed.Add(1)
		case r.GetGap().GetReason() == bailiffv1.GapReason_GAP_REASON_SLOW_CLIENT:
			s.hub.lost.Add(r.GetGap().GetCount())
		}
	}
}

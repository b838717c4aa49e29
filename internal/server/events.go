package server

import (
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

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
	var b batch
	b.start(start)
	for open := true; ; {
		if err := b.send(out, s.hub); err != nil {
			return err
		}
		if !open {
			return errStopping
		}
		select {
		case <-sub.ring.more:
		case <-out.Context().Done():
			return status.FromContextError(out.Context().Err()).Err()
		}
		open = sub.ring.take(&b)
	}
}

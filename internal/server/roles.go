package server

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// forReaders lists the calls that change nothing of the agent. Everything else
// is for operators, a call that is added and forgotten here too.
var forReaders = map[string]bool{
	bailiffv1.EventService_Events_FullMethodName:      true,
	bailiffv1.EventService_Acknowledge_FullMethodName: true, // its own place in the stream
	bailiffv1.AgentService_Status_FullMethodName:      true,
	bailiffv1.AgentService_Policy_FullMethodName:      true,

	healthv1.Health_Check_FullMethodName: true,
	healthv1.Health_List_FullMethodName:  true,
	healthv1.Health_Watch_FullMethodName: true,

	reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName:      true,
	reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName: true,
}

// guard decides for each call whether the caller may make it, and puts those
// that change something, done or refused, on record.
type guard struct {
	certs *certificates // nil: not TLS
	agent Recorder
	log   hclog.Logger
	flood flood
}

func (g *guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	c, err := g.admit(ctx, info.FullMethod, req)
	if err != nil {
		return nil, err
	}
	res, err := next(context.WithValue(ctx, callerKey{}, c), req)
	validText(res)
	if !forReaders[info.FullMethod] {
		g.record(NoticeOperatorCall, c, info.FullMethod, req, err)
	}
	return res, err
}

func (g *guard) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	c, err := g.admit(ss.Context(), info.FullMethod, nil)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(context.WithValue(ss.Context(), callerKey{}, c))
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		g.watch(ctx, c, end)
	}()
	err = next(srv, &guarded{ss, ctx})
	if cause := context.Cause(ctx); errors.Is(cause, errNoLonger) {
		err = status.Error(codes.Unauthenticated, cause.Error())
	}
	end(nil)
	<-watched
	if !forReaders[info.FullMethod] {
		g.record(NoticeOperatorCall, c, info.FullMethod, nil, err)
	}
	return err
}

// guarded is a stream that ends when its caller is no longer trusted.
type guarded struct {
	grpc.ServerStream
	ctx context.Context
}

// Context implements grpc.ServerStream.
func (s *guarded) Context() context.Context { return s.ctx }

var errNoLonger = errors.New("client certificate is not valid any more")

// watch ends a stream when the certificate that it was opened with ends, or
// would be refused by now.
func (g *guard) watch(ctx context.Context, c caller, end context.CancelCauseFunc) {
	if c.chain == nil {
		return
	}
	until := time.NewTimer(time.Until(c.chain[0].NotAfter))
	defer until.Stop()
	for {
		_, changed := g.certs.current()
		if again, err := g.certified(c.chain, c.from); err != nil || again.role < c.role {
			end(errNoLonger)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-until.C:
		}
	}
}

func (g *guard) admit(ctx context.Context, method string, req any) (caller, error) {
	c, err := g.identify(ctx)
	if err != nil {
		return c, status.Error(codes.Unauthenticated, utf8Of(err.Error()))
	}
	switch {
	case c.role == roleNone:
		err = status.Errorf(codes.PermissionDenied, "%s is neither reader nor operator", utf8Of(c.name))
	case c.role < roleOperator && !forReaders[method]:
		err = status.Errorf(codes.PermissionDenied, "%s may read only: %s is for operators", utf8Of(c.name), method)
	default:
		return c, nil
	}
	g.record(NoticeCallRefused, c, method, req, err)
	return c, err
}

func isSPIFFE(u *url.URL) bool { return u.Scheme == "spiffe" }

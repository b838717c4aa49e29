// Package server is the agent's way to the outside: the event stream and the
// operator's commands as gRPC, on a unix socket and, with mutual TLS only, on
// TCP. It knows the agent by the interface Agent and is itself a sink for
// events (Hub).
package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // a client that compresses its request gets compressed answers
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// Options is what a Server is made of.
type Options struct {
	Agent Agent
	Hub   *Hub
	Log   hclog.Logger

	Socket string // path of the unix socket; empty: none
	Listen string // TCP address; empty: none. Needs TLS
	TLS    TLS
}

// Server serves bailiff.v1, health and reflection.
type Server struct {
	log    hclog.Logger
	hub    *Hub
	health *health.Server
	agent  Agent
	certs  *certificates // nil: no TCP
	ends   []end
}

// end is one listener with the gRPC server behind it: unix and TCP differ in
// how they learn who the peer is.
type end struct {
	listener net.Listener
	grpc     *grpc.Server
}

// stopGrace is how long clients have to take what is left for them.
const stopGrace = 2 * time.Second

// New opens the listeners; Serve answers on them.
func New(ctx context.Context, o Options) (_ *Server, err error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	s := &Server{log: o.Log.Named("server"), hub: o.Hub, health: health.NewServer(), agent: o.Agent}
	s.SetServing(false) // until somebody says so
	defer func() {
		if err != nil {
			s.closeListeners()
		}
	}()
	if o.Socket == "" && o.Listen == "" {
		return nil, errors.New("make server: neither socket nor listen address")
	}
	if o.Socket != "" {
		l, err := listenUnix(ctx, o.Socket)
		if err != nil {
			return nil, err
		}
		s.add(l, peerCredentials{self: uint32(os.Geteuid())}, o)
	}
	if o.Listen != "" {
		if s.certs, err = newCertificates(o.TLS, s.log); err != nil {
			return nil, err
		}
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Listen)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", o.Listen, err)
		}
		s.add(l, s.certs.credentials(), o)
	}
	return s, nil
}

func (s *Server) add(l net.Listener, creds credentials.TransportCredentials, o Options) {
	guard := &guard{certs: s.certs, agent: o.Agent, log: s.log}
	g := grpc.NewServer(
		grpc.Creds(creds),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(64),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second, PermitWithoutStream: true}),
		grpc.ChainUnaryInterceptor(s.catchUnary, guard.unary),
		grpc.ChainStreamInterceptor(s.catchStream, guard.stream),
	)
	bailiffv1.RegisterEventServiceServer(g, &eventService{hub: o.Hub})
	bailiffv1.RegisterAgentServiceServer(g, &agentService{agent: o.Agent, hub: o.Hub})
	healthv1.RegisterHealthServer(g, s.health)
	reflection.Register(g)
	s.ends = append(s.ends, end{l, g})
}

// Addrs returns where the server listens, the unix socket first.
func (s *Server) Addrs() []net.Addr {
	var out []net.Addr
	for _, e := range s.ends {
		out = append(out, e.listener.Addr())
	}
	return out
}

// Serve answers until the context ends; then the streams get what is left in
// their buffers, at most for two seconds.
func (s *Server) Serve(ctx context.Context) error {
	failed := make(chan error, len(s.ends))
	for _, e := range s.ends {
		s.log.Info("listening", "network", e.listener.Addr().Network(), "address", e.listener.Addr().String())
		go func() { failed <- e.grpc.Serve(e.listener) }()
	}
	looking, stopLooking := context.WithCancel(ctx)
	var looker sync.WaitGroup
	if s.certs != nil {
		looker.Go(func() { s.certs.follow(looking, s.agent) })
	}
	defer looker.Wait()
	defer stopLooking()
	var err error
	running := len(s.ends)
	select {
	case <-ctx.Done():
	case err = <-failed:
		running--
		err = fmt.Errorf("serve grpc: %w", err)
	}
	s.health.Shutdown()
	s.hub.Close()
	for _, e := range s.ends {
		stop(e.grpc)
	}
	for ; running > 0; running-- {
		<-failed
	}
	return err
}

// SetServing tells health checks whether the agent protects.
func (s *Server) SetServing(yes bool) { s.SetHealth(yes, yes) }

// SetHealth tells health checks whether acts are judged (the service
// AgentService) and whether events come out (EventService). The agent as a
// whole is well if both are true.
func (s *Server) SetHealth(judges, streams bool) {
	for service, well := range map[string]bool{
		"": judges && streams,
		bailiffv1.AgentService_ServiceDesc.ServiceName: judges,
		bailiffv1.EventService_ServiceDesc.ServiceName: streams,
	} {
		st := healthv1.HealthCheckResponse_NOT_SERVING
		if well {
			st = healthv1.HealthCheckResponse_SERVING
		}
		s.health.SetServingStatus(service, st)
	}
}

// Close frees the listeners of a server that never served.
func (s *Server) Close() { s.closeListeners() }

func (s *Server) closeListeners() {
	for _, e := range s.ends {
		e.listener.Close()
	}
}

func stop(g *grpc.Server) {
	done := make(chan struct{})
	go func() { defer close(done); g.GracefulStop() }()
	t := time.NewTimer(stopGrace)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
		g.Stop()
		<-done
	}
}

// A request that makes a handler panic must not take the protection down.
func (s *Server) catchUnary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (_ any, err error) {
	defer s.caught(info.FullMethod, &err)
	return next(ctx, req)
}

func (s *Server) catchStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) (err error) {
	defer s.caught(info.FullMethod, &err)
	return next(srv, ss)
}

func (s *Server) caught(method string, err *error) {
	if r := recover(); r != nil {
		s.log.Error("request handler panicked", "method", method, "panic", fmt.Sprint(r), "stack", string(debug.Stack()))
		*err = status.Error(codes.Internal, "internal error, see the agent's log")
	}
}

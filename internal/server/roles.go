package server

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// caller is who is at the other end of a call.
type caller struct {
	name     string // for records: "uid 0, pid 123" or a name out of the certificate
	from     string // network address
	operator bool
}

// operatorOnly lists the calls that change something. Everything else is for
// every role: whoever is let in may read.
var operatorOnly = []string{
	bailiffv1.AgentService_SetMode_FullMethodName,
	bailiffv1.AgentService_ReloadPolicy_FullMethodName,
}

// guard decides for each call whether the caller may make it, and puts those
// that change something, done or refused, on record.
type guard struct {
	operators []string
	recorder  Recorder
	log       hclog.Logger
}

type callerKey struct{}

// callerOf returns the caller that the guard found.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

func (g guard) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	c, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	res, err := next(context.WithValue(ctx, callerKey{}, c), req)
	if slices.Contains(operatorOnly, info.FullMethod) {
		g.record(NoticeOperatorCall, c, info.FullMethod, req, err)
	}
	return res, err
}

func (g guard) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if _, err := g.admit(ss.Context(), info.FullMethod); err != nil {
		return err
	}
	return next(srv, ss)
}

func (g guard) admit(ctx context.Context, method string) (caller, error) {
	c, err := g.identify(ctx)
	if err != nil {
		return c, status.Error(codes.Unauthenticated, err.Error())
	}
	if slices.Contains(operatorOnly, method) && !c.operator {
		err := status.Errorf(codes.PermissionDenied, "%s may read only: %s is for operators", c.name, method)
		g.record(NoticeCallRefused, c, method, nil, err)
		return c, err
	}
	return c, nil
}

func (g guard) identify(ctx context.Context) (caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return caller{}, fmt.Errorf("call has no peer")
	}
	switch a := p.AuthInfo.(type) {
	case unixPeer: // the handshake lets nobody in but root and the agent's user
		return caller{name: fmt.Sprintf("uid %d, pid %d", a.uid, a.pid), from: "unix", operator: true}, nil
	case credentials.TLSInfo:
		if len(a.State.VerifiedChains) == 0 || len(a.State.VerifiedChains[0]) == 0 {
			return caller{}, fmt.Errorf("client has no verified certificate")
		}
		names := namesOf(a.State.VerifiedChains[0][0])
		c := caller{name: strings.Join(names, " "), from: p.Addr.String()}
		c.operator = slices.ContainsFunc(names, func(n string) bool { return slices.Contains(g.operators, n) })
		return c, nil
	}
	return caller{}, fmt.Errorf("peer is not authenticated")
}

// namesOf lists the names in a certificate, each with the place where it
// stands, so that a name in one place cannot pass for one in another.
func namesOf(c *x509.Certificate) []string {
	var out []string
	if c.Subject.CommonName != "" {
		out = append(out, "cn:"+c.Subject.CommonName)
	}
	for _, n := range c.DNSNames {
		out = append(out, "dns:"+n)
	}
	for _, u := range c.URIs {
		out = append(out, "uri:"+u.String())
	}
	return out
}

func (g guard) record(code string, c caller, method string, req any, err error) {
	fields := map[string]string{"by": c.name, "from": c.from, "method": method, "result": status.Code(err).String()}
	if m, ok := req.(*bailiffv1.SetModeRequest); ok {
		fields["mode"] = DecodeMode(m.GetMode()).String()
	}
	text := fmt.Sprintf("%s called %s: %s", c.name, method, status.Code(err))
	if err != nil {
		fields["error"] = status.Convert(err).Message()
	}
	g.log.Info("operator call", "by", c.name, "from", c.from, "method", method, "result", status.Code(err).String())
	g.recorder.Record(event.Notice{Code: code, Text: text, Fields: fields})
}

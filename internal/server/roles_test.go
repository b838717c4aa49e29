package server_test

import (
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

func spiffe(path string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: "example.com", Path: path}
}

// tcp serves on TCP and returns how to call it.
func tcp(t *testing.T, ca *authority, o server.TLS) (*agent, func(pair) *grpc.ClientConn) {
	t.Helper()
	srv := ca.issue(t, "agent", nil)
	o.Cert, o.Key, o.ClientCA = srv.cert, srv.key, ca.cert
	a, s := serve(t, server.Options{Listen: "127.0.0.1:0", TLS: o})
	return a, func(p pair) *grpc.ClientConn {
		t.Helper()
		creds, err := server.Client{Cert: p.cert, Key: p.key, CA: ca.cert, ServerName: "agent"}.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		return dial(t, s.Addrs()[0].String(), creds)
	}
}

// TestEachCallHasItsRole calls everything that there is as a reader: what is
// not in this list must be refused, and be on record.
func TestEachCallHasItsRole(t *testing.T) {
	ca := newCA(t)
	a, call := tcp(t, ca, server.TLS{Operators: []string{"cn:boss"}})
	conn := call(ca.issue(t, "siem", nil))
	may := map[string]bool{"Events": true, "Acknowledge": true, "Status": true, "Policy": true}
	for _, d := range []grpc.ServiceDesc{bailiffv1.EventService_ServiceDesc, bailiffv1.AgentService_ServiceDesc} {
		for _, m := range d.Methods {
			method := "/" + d.ServiceName + "/" + m.MethodName
			before := a.recorded()
			err := conn.Invoke(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{})
			if refused := status.Code(err) == codes.PermissionDenied; refused == may[m.MethodName] {
				t.Errorf("a reader's %s gave %v", method, err)
			}
			if got := a.recorded() - before; may[m.MethodName] != (got == 0) {
				t.Errorf("%s by a reader made %d records", method, got)
			}
		}
	}
	if a.Status().Mode != 0 || a.reloads != 0 {
		t.Errorf("a reader changed something: %+v", a.Status())
	}
}

func TestNamesInCertificates(t *testing.T) {
	ca := newCA(t)
	_, call := tcp(t, ca, server.TLS{
		Operators: []string{"uri:spiffe://example.com/ops/*", "cn:boss"}, Readers: []string{"uri:spiffe://example.com/siem", "dns:collector"},
	})
	for _, tt := range []struct {
		name      string
		uris      []*url.URL
		read, set codes.Code
	}{
		{"boss", nil, codes.OK, codes.OK},
		{"x", []*url.URL{spiffe("/ops/ann")}, codes.OK, codes.OK},
		{"x", []*url.URL{spiffe("/ops/a/b")}, codes.OK, codes.OK},
		{"x", []*url.URL{spiffe("/siem")}, codes.OK, codes.PermissionDenied},
		{"x", []*url.URL{spiffe("/siem/more")}, codes.PermissionDenied, codes.PermissionDenied},
		{"x", []*url.URL{spiffe("/ops")}, codes.PermissionDenied, codes.PermissionDenied},
		{"x", []*url.URL{spiffe("/ops/")}, codes.PermissionDenied, codes.PermissionDenied},
		{"x", []*url.URL{spiffe("/ops/../siem2")}, codes.PermissionDenied, codes.PermissionDenied},
		{"x", []*url.URL{spiffe("/ops/ann"), spiffe("/ops/bob")}, codes.Unauthenticated, codes.Unauthenticated},
		{"spiffe://example.com/ops/ann", nil, codes.PermissionDenied, codes.PermissionDenied},
		{"nobody", nil, codes.PermissionDenied, codes.PermissionDenied},
	} {
		c := bailiffv1.NewAgentServiceClient(call(ca.issueAll(t, tt.name, tt.uris)))
		if _, err := c.Status(t.Context(), &bailiffv1.StatusRequest{}); status.Code(err) != tt.read {
			t.Errorf("%s %v reads: %v", tt.name, tt.uris, err)
		}
		_, err := c.SetMode(t.Context(), &bailiffv1.SetModeRequest{Mode: bailiffv1.Mode_MODE_ENFORCE})
		if status.Code(err) != tt.set {
			t.Errorf("%s %v sets the mode: %v", tt.name, tt.uris, err)
		}
	}
}

// TestCallsAreOnRecord: who, from where, what, with which arguments, and what
// came of it.
func TestCallsAreOnRecord(t *testing.T) {
	ca := newCA(t)
	a, call := tcp(t, ca, server.TLS{Operators: []string{"uri:spiffe://example.com/ops"}})
	enforce := &bailiffv1.SetModeRequest{Mode: bailiffv1.Mode_MODE_ENFORCE}
	op := bailiffv1.NewAgentServiceClient(call(ca.issue(t, "ann", spiffe("/ops"))))
	if _, err := op.SetMode(t.Context(), enforce); err != nil {
		t.Fatal(err)
	}
	n := a.last(t)
	for field, want := range map[string]string{
		"by": "cn:ann dns:agent uri:spiffe://example.com/ops", "role": "operator", "from": "127.0.0.1:",
		"method": "/bailiff.v1.AgentService/SetMode", "arguments": "MODE_ENFORCE", "result": "OK", "mode": "enforce",
	} {
		if got := n.Fields[field]; !strings.HasPrefix(got, want) && !(field == "arguments" && strings.Contains(got, want)) {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	if n.Code != server.NoticeOperatorCall || len(n.Fields["certificate_sha256"]) != 64 || n.Fields["serial"] == "" {
		t.Errorf("recorded %+v", n)
	}
	// A caller that is refused again and again does not fill the stream.
	reader := bailiffv1.NewAgentServiceClient(call(ca.issue(t, "siem", nil)))
	before := a.recorded()
	for range 100 {
		if _, err := reader.SetMode(t.Context(), enforce); status.Code(err) != codes.PermissionDenied {
			t.Fatalf("got %v", err)
		}
	}
	if got := a.recorded() - before; got < 20 || got > 60 {
		t.Errorf("100 refused calls made %d records", got)
	}
	if n := a.last(t); n.Code != server.NoticeCallRefused || n.Fields["role"] != "reader" || n.Fields["result"] != "PermissionDenied" {
		t.Errorf("recorded %+v", n)
	}
	if _, err := op.SetMode(t.Context(), enforce); err != nil {
		t.Fatal(err)
	}
	if n := a.last(t); n.Code != server.NoticeOperatorCall {
		t.Errorf("what an operator does is not on record in the flood: %+v", n)
	}
}

// TestAgentWithSPIFFEID: the client can ask for an id instead of a host name.
func TestAgentWithSPIFFEID(t *testing.T) {
	ca := newCA(t)
	srv, me := ca.issue(t, "agent", spiffe("/agent")), ca.issue(t, "me", nil)
	_, s := serve(t, server.Options{Listen: "127.0.0.1:0", TLS: server.TLS{Cert: srv.cert, Key: srv.key, ClientCA: ca.cert}})
	for id, want := range map[string]codes.Code{
		"spiffe://example.com/agent": codes.OK, "spiffe://example.com/other": codes.Unavailable, "agent": codes.OK, "other": codes.Unavailable,
	} {
		creds, err := server.Client{Cert: me.cert, Key: me.key, CA: ca.cert, ServerName: id}.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		c := bailiffv1.NewAgentServiceClient(dial(t, s.Addrs()[0].String(), creds))
		if _, err := c.Status(t.Context(), &bailiffv1.StatusRequest{}); status.Code(err) != want {
			t.Errorf("%s: %v", id, err)
		}
	}
	// An agent of another CA is refused whatever its id.
	stranger := newCA(t).cert
	creds, err := server.Client{Cert: me.cert, Key: me.key, CA: stranger, ServerName: "spiffe://example.com/agent"}.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	c := bailiffv1.NewAgentServiceClient(dial(t, s.Addrs()[0].String(), creds))
	if _, err := c.Status(t.Context(), &bailiffv1.StatusRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("an agent of another CA: %v", err)
	}
}

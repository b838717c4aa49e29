package server_test

import (
	"os"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// replace puts a file in place of another, as careful programs do.
func replace(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to+".new", b, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !f(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("did not come true: %s", what)
		}
	}
}

// TestCertificatesAreReplacedWhileServing goes through a rotation: a bad pair
// changes nothing, another CA shuts out those of the old one, an open stream of
// theirs included, and its own clients get in.
func TestCertificatesAreReplacedWhileServing(t *testing.T) {
	old, next := newCA(t), newCA(t)
	srv, mine := old.issue(t, "agent", nil), old.issue(t, "me", nil)
	caFile := srv.cert + ".ca"
	replace(t, old.cert, caFile)
	a, s := serve(t, server.Options{Listen: "127.0.0.1:0", TLS: server.TLS{
		Cert: srv.cert, Key: srv.key, ClientCA: caFile, Look: 10 * time.Millisecond,
	}})
	call := func(p pair, ca string) error {
		creds, err := server.Client{Cert: p.cert, Key: p.key, CA: ca, ServerName: "agent"}.Credentials()
		if err != nil {
			return err
		}
		_, err = bailiffv1.NewAgentServiceClient(dial(t, s.Addrs()[0].String(), creds)).Status(t.Context(), &bailiffv1.StatusRequest{})
		return err
	}
	if err := call(mine, old.cert); err != nil {
		t.Fatal(err)
	}
	creds, err := server.Client{Cert: mine.cert, Key: mine.key, CA: old.cert, ServerName: "agent"}.Credentials()
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, s.Addrs()[0].String(), creds)
	stream, _ := subscribe(t, conn, &bailiffv1.EventsRequest{})

	// A key that does not belong to the certificate.
	other := next.issue(t, "agent", nil)
	goodKey := srv.key + ".good"
	replace(t, srv.key, goodKey)
	replace(t, other.key, srv.key)
	until(t, "the condition is raised", func() bool { return a.condition(server.CondCertificates) != "" })
	if err := call(mine, old.cert); err != nil {
		t.Errorf("with a bad pair: %v", err)
	}
	replace(t, goodKey, srv.key)
	until(t, "the condition is gone", func() bool { return a.condition(server.CondCertificates) == "" })

	// The agent's own certificate, then the CA of its clients.
	replace(t, other.cert, srv.cert)
	replace(t, other.key, srv.key)
	until(t, "the new certificate is served", func() bool { return call(mine, next.cert) == nil })
	replace(t, next.cert, caFile)
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the open stream of a client of the old CA ended with %v", err)
	}
	if _, err := bailiffv1.NewAgentServiceClient(conn).Status(t.Context(), &bailiffv1.StatusRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("on the open connection of a client of the old CA: %v", err)
	}
	if err := call(mine, next.cert); err == nil {
		t.Error("a client of the old CA still gets in")
	}
	if err := call(next.issue(t, "me", nil), next.cert); err != nil {
		t.Errorf("a client of the new CA: %v", err)
	}
	if n := a.last(t); n.Code != server.NoticeCertificates {
		t.Errorf("recorded %+v", n)
	}
}

// TestCertificateEnds: the tests' certificates live for two hours, of which
// one is over.
func TestCertificateEnds(t *testing.T) {
	ca := newCA(t)
	ca.end = time.Now().Add(5 * time.Minute)
	srv := ca.issue(t, "agent", nil)
	a, _ := serve(t, server.Options{Listen: "127.0.0.1:0", TLS: server.TLS{Cert: srv.cert, Key: srv.key, ClientCA: ca.cert, Look: 10 * time.Millisecond}})
	until(t, "the condition is raised", func() bool { return a.condition(server.CondCertExpires) != "" })
	ca.end = time.Now().Add(time.Hour)
	again := ca.issue(t, "agent", nil)
	replace(t, again.cert, srv.cert)
	replace(t, again.key, srv.key)
	until(t, "the condition is gone", func() bool { return a.condition(server.CondCertExpires) == "" })
	ca.end = time.Now().Add(-time.Minute)
	late := ca.issue(t, "agent", nil)
	if _, err := server.New(t.Context(), server.Options{Listen: "127.0.0.1:0", Hub: server.NewHub(server.Identity{}),
		TLS: server.TLS{Cert: late.cert, Key: late.key, ClientCA: ca.cert}}); err == nil {
		t.Error("a certificate that has ended was taken")
	}
}

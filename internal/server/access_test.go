package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

func TestUnixSocketIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run", "bailiff")
	sock := filepath.Join(dir, "sock")
	serve(t, server.Options{Socket: sock})
	for path, want := range map[string]fs.FileMode{dir: 0o700 | fs.ModeDir, sock: 0o600 | fs.ModeSocket} {
		st, err := os.Stat(path)
		if err != nil || st.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, st.Mode(), err, want)
		}
	}
}

func TestSecondAgentIsRefused(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "sock")
	serve(t, server.Options{Socket: sock})
	if _, err := server.New(t.Context(), server.Options{Socket: sock, Hub: server.NewHub(server.Identity{})}); !errors.Is(err, server.ErrInUse) {
		t.Errorf("got %v", err)
	}
	// The same if the other one holds no lock.
	other := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", other)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := server.New(t.Context(), server.Options{Socket: other, Hub: server.NewHub(server.Identity{})}); !errors.Is(err, server.ErrInUse) {
		t.Errorf("got %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	sock := filepath.Join(t.TempDir(), "sock")
	l, err := net.Listen("unix", sock)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	serve(t, server.Options{Socket: sock})
	c := dial(t, "unix:"+sock, insecure.NewCredentials())
	if _, err := bailiffv1.NewAgentServiceClient(c).Status(t.Context(), &bailiffv1.StatusRequest{}); err != nil {
		t.Error(err)
	}
}

func TestOnlySocketsAreReplaced(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sock")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := server.New(t.Context(), server.Options{Socket: file, Hub: server.NewHub(server.Identity{})}); err == nil {
		t.Error("a file was taken for a stale socket")
	}
}

func TestOperatorOnTheSocket(t *testing.T) {
	a, conn := serveUnix(t)
	c := bailiffv1.NewAgentServiceClient(conn)
	r, err := c.SetMode(t.Context(), &bailiffv1.SetModeRequest{Mode: bailiffv1.Mode_MODE_ENFORCE})
	if err != nil || r.GetPrevious() != bailiffv1.Mode_MODE_AUDIT || a.Status().Mode != event.ModeEnforce {
		t.Fatalf("got %v, %v", r, err)
	}
	if n := a.last(t); n.Code != server.NoticeOperatorCall || n.Fields["mode"] != "enforce" || !strings.HasPrefix(n.Fields["by"], "uid ") || n.Fields["result"] != "OK" {
		t.Errorf("recorded %+v", n)
	}
	if _, err := c.SetMode(t.Context(), &bailiffv1.SetModeRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("no mode gave %v", err)
	}
	a.mu.Lock()
	a.refuse = errRefuse
	a.mu.Unlock()
	_, err = c.ReloadPolicy(t.Context(), &bailiffv1.ReloadPolicyRequest{})
	if status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), `no\xff`) {
		t.Errorf("a refused reload gave %v", err)
	}
	if n := a.last(t); n.Fields["result"] != "FailedPrecondition" || n.Fields["error"] == "" {
		t.Errorf("recorded %+v", n)
	}
	p, err := c.Policy(t.Context(), &bailiffv1.PolicyRequest{})
	if err != nil || len(p.GetRules()) != 2 || p.GetRules()[1].GetReasons()[0].GetHint() != "do" {
		t.Errorf("got %v, %v", p, err)
	}
	st, err := c.Status(t.Context(), &bailiffv1.StatusRequest{})
	if err != nil || st.GetScope()[0] != `/sys/fs/cgroup/\xff` || st.GetConditions()[0].GetRemedy() != "mend it" {
		t.Errorf("got %v, %v", st, err)
	}
}

func TestTCPNeedsClientCertificates(t *testing.T) {
	if _, err := server.New(t.Context(), server.Options{Listen: "127.0.0.1:0", Hub: server.NewHub(server.Identity{})}); err == nil {
		t.Fatal("TCP without certificates was accepted")
	}
	ca := newCA(t)
	srv := ca.issue(t, "agent", nil)
	if _, err := server.New(t.Context(), server.Options{Listen: "127.0.0.1:0", TLS: server.TLS{Cert: srv.cert, Key: srv.key}}); err == nil {
		t.Fatal("TCP without client CA was accepted")
	}

	a, s := serve(t, server.Options{Listen: "127.0.0.1:0", TLS: server.TLS{
		Cert: srv.cert, Key: srv.key, ClientCA: ca.cert, Operators: []string{"uri:spiffe://example.com/ops", "cn:boss"},
	}})
	addr := s.Addrs()[0].String()
	call := func(p pair) (bailiffv1.AgentServiceClient, healthv1.HealthClient) {
		creds, err := server.Client{Cert: p.cert, Key: p.key, CA: ca.cert, ServerName: "agent"}.Credentials()
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t, addr, creds)
		return bailiffv1.NewAgentServiceClient(c), healthv1.NewHealthClient(c)
	}
	enforce := &bailiffv1.SetModeRequest{Mode: bailiffv1.Mode_MODE_ENFORCE}

	reader, health := call(ca.issue(t, "siem", nil))
	if _, err := reader.Status(t.Context(), &bailiffv1.StatusRequest{}); err != nil {
		t.Errorf("a reader may not read: %v", err)
	}
	if h, err := health.Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil || h.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health is %v, %v", h, err)
	}
	if _, err := reader.SetMode(t.Context(), enforce); status.Code(err) != codes.PermissionDenied {
		t.Errorf("a reader's mode change gave %v", err)
	}
	if n := a.last(t); n.Code != server.NoticeCallRefused || !strings.Contains(n.Fields["by"], "cn:siem") {
		t.Errorf("recorded %+v", n)
	}
	if _, err := reader.ReloadPolicy(t.Context(), &bailiffv1.ReloadPolicyRequest{}); status.Code(err) != codes.PermissionDenied || a.reloads != 0 {
		t.Errorf("a reader's reload gave %v", err)
	}
	// A name counts only where it stands: a common name is no URI.
	if posing, _ := call(ca.issue(t, "spiffe://example.com/ops", nil)); posing != nil {
		if _, err := posing.SetMode(t.Context(), enforce); status.Code(err) != codes.PermissionDenied {
			t.Errorf("a common name passed for a URI: %v", err)
		}
	}
	for _, p := range []pair{ca.issue(t, "boss", nil), ca.issue(t, "x", &url.URL{Scheme: "spiffe", Host: "example.com", Path: "/ops"})} {
		op, _ := call(p)
		if _, err := op.SetMode(t.Context(), enforce); err != nil {
			t.Errorf("an operator's mode change gave %v", err)
		}
	}
	stranger := newCA(t).issue(t, "boss", nil)
	if c, _ := call(stranger); c != nil {
		if _, err := c.Status(t.Context(), &bailiffv1.StatusRequest{}); status.Code(err) != codes.Unavailable {
			t.Errorf("a stranger's certificate gave %v", err)
		}
	}
	if _, err := bailiffv1.NewAgentServiceClient(dial(t, addr, insecure.NewCredentials())).Status(t.Context(), &bailiffv1.StatusRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("plain text gave %v", err)
	}
}

func TestReflection(t *testing.T) {
	_, conn := serveUnix(t)
	s, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(&reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	m, err := s.Recv()
	if err != nil || !strings.Contains(m.String(), "bailiff.v1.EventService") {
		t.Errorf("got %v, %v", m, err)
	}
	_ = s.CloseSend()
}

// authority signs certificates for one test.
type authority struct {
	dir, cert string
	key       *ecdsa.PrivateKey
	parent    *x509.Certificate
	serial    int64
	end       time.Time // of what is issued; zero: in an hour
}

type pair struct{ cert, key string }

func newCA(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	a.parent = &x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	p, key := a.sign(t, a.parent, "ca")
	a.cert, a.key = p.cert, key
	return a
}

func (a *authority) issue(t *testing.T, name string, uri *url.URL) pair {
	t.Helper()
	if uri == nil {
		return a.issueAll(t, name, nil)
	}
	return a.issueAll(t, name, []*url.URL{uri})
}

func (a *authority) issueAll(t *testing.T, name string, uris []*url.URL) pair {
	t.Helper()
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{"agent"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	c.URIs = uris
	p, _ := a.sign(t, c, "leaf")
	return p
}

func (a *authority) sign(t *testing.T, c *x509.Certificate, name string) (pair, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.serial++
	c.SerialNumber = big.NewInt(a.serial)
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if !a.end.IsZero() {
		c.NotAfter = a.end
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(a.dir, name+big.NewInt(a.serial).String())
	return pair{
		writePEM(t, base+".pem", "CERTIFICATE", der),
		writePEM(t, base+".key", "PRIVATE KEY", secret),
	}, key
}

func writePEM(t *testing.T, path, kind string, der []byte) string {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// certificate writes NAME.pem and NAME.key into the world, signed by a CA, or
// by itself if there is none.
func (w *world) certificate(name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	w.must(err)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, URIs: []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/" + name}},
		IsCA: ca == nil, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ca == nil {
		ca, caKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
	w.must(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	w.must(err)
	w.write(w.path(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
	w.write(w.path(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)
	return c, key
}

// TestNativeRemote calls the agent by mutual TLS as operator and as reader,
// replaces its certificates while it runs, and finds each call in the stream.
func TestNativeRemote(t *testing.T) {
	if inGuest() {
		t.Skip("natively only: nothing of it depends on the kernel")
	}
	backends(t)
	w := newWorld(t, tracepoint)
	w.denyTarget()
	ca, key := w.certificate("ca", nil, nil)
	for _, name := range []string{"agent", "ops", "siem"} {
		w.certificate(name, ca, key)
	}
	addr := freePort(t)
	w.start(event.ModeAudit, "--listen", addr, "--tls-cert", w.path("agent.pem"), "--tls-key", w.path("agent.key"),
		"--tls-client-ca", w.path("ca.pem"), "--tls-operator", "uri:spiffe://example.com/ops")
	call := func(who string, args ...string) error {
		_, err := harness.CLI(w.wait(), w.agent.Binary, append(args, "--address", addr, "--ca", w.path("ca.pem"),
			"--cert", w.path(who+".pem"), "--key", w.path(who+".key"))...)
		return err
	}
	record := func(code, who string) {
		_, err := w.stream.Until(w.wait(), func(e *event.Event) bool {
			return e.Agent != nil && e.Agent.Code == code && strings.Contains(e.Agent.Fields["by"], "spiffe://example.com/"+who) &&
				strings.HasSuffix(e.Agent.Fields["method"], "/SetMode") && strings.HasPrefix(e.Agent.Fields["from"], "127.0.0.1:") &&
				strings.Contains(e.Agent.Fields["arguments"], "MODE_ENFORCE")
		})
		if err != nil {
			t.Errorf("no %s of %s in the stream: %v", code, who, err)
		}
	}
	w.must(call("siem", "status"))
	if err := call("siem", "mode", "enforce"); err == nil || !strings.Contains(err.Error(), "may read only") {
		t.Errorf("a reader's mode change: %v", err)
	}
	record("call-refused", "siem")
	w.must(call("ops", "mode", "enforce"))
	record("operator-call", "ops")

	ca, key = w.certificate("ca", nil, nil)
	w.certificate("agent", ca, key)
	eventually(t, "clients of the old CA are shut out", func() bool { return call("ops", "status") != nil })
	w.certificate("ops", ca, key)
	eventually(t, "clients of the new CA get in", func() bool { return call("ops", "status") == nil })
	w.stop()
}

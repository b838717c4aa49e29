package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"hash/fnv"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/credentials"

	"example.com/bailiff/internal/event"
)

// Conditions that the server raises and clears.
const (
	// CondCertificates: the files changed and cannot be used; the former
	// certificates are.
	CondCertificates = "certificates-stale"
	// CondCertExpires: the agent's certificate ends soon, or has ended.
	CondCertExpires = "certificate-expires"
)

// expiresSoon is how long before its end a certificate is worth a condition,
// unless it lives so short that a sixth of its life is less.
const expiresSoon = 7 * 24 * time.Hour

// identityFiles is what the three files say.
type identityFiles struct {
	cert    tls.Certificate
	clients *x509.CertPool
}

// certificates are the files as they were when they were last good.
type certificates struct {
	TLS
	log hclog.Logger

	mu      sync.Mutex
	inUse   *identityFiles
	changed chan struct{} // closed when inUse is replaced

	used, seen uint64 // prints of the files: in use, at the last look
}

func newCertificates(t TLS, log hclog.Logger) (*certificates, error) {
	if t.Look <= 0 {
		t.Look = 2 * time.Second
	}
	c := &certificates{TLS: t, log: log, changed: make(chan struct{})}
	c.used = c.print()
	c.seen = c.used
	var err error
	c.inUse, err = t.load(time.Now())
	return c, err
}

// current returns the files in use, and a channel that is closed when they are
// no longer.
func (c *certificates) current() (*identityFiles, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inUse, c.changed
}

// credentials asks for each connection what is in use then. There are no
// session tickets: each connection is verified.
func (c *certificates) credentials() credentials.TransportCredentials {
	return credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			f, _ := c.current()
			return &tls.Config{
				Certificates: []tls.Certificate{f.cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: f.clients,
				MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}, SessionTicketsDisabled: true,
			}, nil
		},
	})
}

// follow looks at the files until the context ends.
func (c *certificates) follow(ctx context.Context, a Agent) {
	tick := time.NewTicker(c.Look)
	defer tick.Stop()
	for {
		c.look(a, time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look takes what has changed into use when it is the same at two looks: three
// files are not replaced at once.
func (c *certificates) look(a Agent, now time.Time) {
	p := c.print()
	settled := p == c.seen
	c.seen = p
	if settled && p != c.used {
		c.reload(a, p, now)
	}
	f, _ := c.current()
	leaf := f.cert.Leaf
	if left := leaf.NotAfter.Sub(now); left < min(expiresSoon, leaf.NotAfter.Sub(leaf.NotBefore)/6) {
		a.Raise(CondCertExpires, fmt.Sprintf("the certificate in %s ends on %s", c.Cert, leaf.NotAfter.UTC().Format(time.RFC3339)))
	} else {
		a.Clear(CondCertExpires)
	}
}

func (c *certificates) reload(a Agent, print uint64, now time.Time) {
	c.used = print // whatever comes of it: tried once for each change
	f, err := c.load(now)
	if err != nil {
		a.Raise(CondCertificates, "the new certificates are not used, the former are: "+err.Error())
		return
	}
	c.mu.Lock()
	c.inUse = f
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()
	c.log.Info("certificates replaced", "subject", f.cert.Leaf.Subject.String(), "ends", f.cert.Leaf.NotAfter.UTC().Format(time.RFC3339))
	a.Clear(CondCertificates)
	a.Record(event.Notice{Code: NoticeCertificates, Text: "the agent uses other certificates from now on", Fields: map[string]string{
		"subject": f.cert.Leaf.Subject.String(), "serial": f.cert.Leaf.SerialNumber.String(),
		"ends": f.cert.Leaf.NotAfter.UTC().Format(time.RFC3339),
	}})
}

// print sums up what would change if one of the files did. Symbolic links are
// followed: that is how mounted secrets are replaced.
func (c *certificates) print() uint64 {
	h := fnv.New64a()
	for _, name := range []string{c.Cert, c.Key, c.ClientCA} {
		st, err := os.Stat(name)
		if err != nil {
			fmt.Fprintln(h, err)
			continue
		}
		fmt.Fprintln(h, name, st.Size(), st.ModTime().UnixNano(), inodeOf(st))
	}
	return h.Sum64()
}

package server

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

// role is what a caller may do; each includes the ones before.
type role int

const (
	roleNone role = iota
	roleReader
	roleOperator
)

func (r role) String() string { return []string{"none", "reader", "operator"}[r] }

// caller is who is at the other end of a call.
type caller struct {
	name  string // for records: "uid 0, pid 123" or the names in the certificate
	from  string // "unix", or the network address
	role  role
	proof map[string]string   // for records: uid and pid, or serial and fingerprint of the certificate
	chain []*x509.Certificate // nil on the unix socket
}

type callerKey struct{}

// callerOf returns the caller that the guard found.
func callerOf(ctx context.Context) caller {
	c, _ := ctx.Value(callerKey{}).(caller)
	return c
}

// identify finds out who calls. A certificate is verified for each call: a
// connection may be older than what is trusted now.
func (g *guard) identify(ctx context.Context) (caller, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return caller{}, errors.New("call has no peer")
	}
	switch a := p.AuthInfo.(type) {
	case unixPeer: // the handshake lets nobody in but root and the agent's user
		return caller{
			name: fmt.Sprintf("uid %d, pid %d", a.uid, a.pid), from: "unix", role: roleOperator,
			proof: map[string]string{"uid": strconv.Itoa(int(a.uid)), "pid": strconv.Itoa(int(a.pid))},
		}, nil
	case credentials.TLSInfo:
		return g.certified(a.State.PeerCertificates, p.Addr.String())
	}
	return caller{}, errors.New("peer is not authenticated")
}

func (g *guard) certified(chain []*x509.Certificate, from string) (caller, error) {
	files, _ := g.certs.current()
	if err := verify(chain, files.clients, x509.ExtKeyUsageClientAuth); err != nil {
		return caller{}, fmt.Errorf("client certificate is not valid, or no longer: %w", err)
	}
	leaf := chain[0]
	if len(leaf.URIs) > 1 && slices.ContainsFunc(leaf.URIs, isSPIFFE) {
		return caller{}, errors.New("client certificate has a SPIFFE id and another URI: it is not clear whose it is")
	}
	names := namesOf(leaf)
	sum := sha256.Sum256(leaf.Raw)
	c := caller{
		name: strings.Join(names, " "), from: from, chain: chain,
		proof: map[string]string{"serial": leaf.SerialNumber.String(), "certificate_sha256": hex.EncodeToString(sum[:])},
	}
	switch {
	case named(names, g.certs.Operators):
		c.role = roleOperator
	case len(g.certs.Readers) == 0 || named(names, g.certs.Readers):
		c.role = roleReader
	}
	return c, nil
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

// named reports whether one of the names is in a list.
func named(names, list []string) bool {
	return slices.ContainsFunc(list, func(want string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return matches(n, want) })
	})
}

// matches compares a name with an entry of a list. A URI below another one has
// no dots as a component, which whoever reads it might resolve.
func matches(name, want string) bool {
	dir, below := strings.CutSuffix(want, "*")
	if !below || !strings.HasPrefix(want, "uri:") || !strings.HasSuffix(dir, "/") {
		return name == want
	}
	rest, ok := strings.CutPrefix(name, dir)
	parts := strings.Split(rest, "/")
	return ok && !slices.ContainsFunc(parts, func(p string) bool { return p == "" || p == "." || p == ".." })
}

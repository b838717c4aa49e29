package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
)

// TLS is what a TCP listener needs: all three files, PEM. There is no TCP
// without client certificates. The files are looked at while the agent runs:
// what is replaced is used for the next connection.
type TLS struct {
	Cert     string // the agent's certificate chain
	Key      string // its private key
	ClientCA string // who signs client certificates
	// Operators are the names of clients that may change mode and policy. A
	// name says where in the certificate it stands: "cn:NAME" (subject common
	// name), "dns:NAME" or "uri:URI" (alternative names); a URI that ends in
	// "/*" is for everything below.
	Operators []string
	// Readers are the names of clients that may read; if there are none,
	// everybody with a certificate may.
	Readers []string
	Look    time.Duration // how often the files are looked at; default 2 s
}

// load reads the three files.
func (t TLS) load(now time.Time) (*identityFiles, error) {
	if t.Cert == "" || t.Key == "" || t.ClientCA == "" {
		return nil, errors.New("listen on TCP: certificate, key and client CA are all required; the event stream is not offered without mutual TLS")
	}
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	cert.Leaf = leaf
	if now.After(leaf.NotAfter) {
		return nil, fmt.Errorf("load certificate: %s ended on %s", t.Cert, leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	pool, err := loadPool(t.ClientCA)
	if err != nil {
		return nil, err
	}
	return &identityFiles{cert: cert, clients: pool}, nil
}

// Client says how to call a TCP listener: the client's own certificate, and
// who signs the agent's. All files are PEM.
type Client struct {
	Cert, Key string
	CA        string
	// ServerName is the name that the agent's certificate must have: a DNS
	// name, or a SPIFFE id ("spiffe://..."). Empty: the host that is called.
	ServerName string
}

// Credentials returns what a connection is made with. The certificate is read
// anew for each connection, so that a client that runs for long can renew it.
func (c Client) Credentials() (credentials.TransportCredentials, error) {
	read := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("load certificate: %w", err)
		}
		return &pair, nil
	}
	if _, err := read(); err != nil {
		return nil, err
	}
	pool, err := loadPool(c.CA)
	if err != nil {
		return nil, err
	}
	cfg := &tls.Config{
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return read() },
		RootCAs:              pool, ServerName: c.ServerName, MinVersion: tls.VersionTLS13,
	}
	if strings.HasPrefix(c.ServerName, "spiffe://") {
		// A SPIFFE id is no host name: the chain is verified here, and then
		// that it is this id and no other.
		cfg.ServerName, cfg.InsecureSkipVerify = "", true
		cfg.VerifyConnection = func(s tls.ConnectionState) error { return verifyID(s.PeerCertificates, pool, c.ServerName) }
	}
	return credentials.NewTLS(cfg), nil
}

func verifyID(chain []*x509.Certificate, roots *x509.CertPool, id string) error {
	if err := verify(chain, roots, x509.ExtKeyUsageServerAuth); err != nil {
		return err
	}
	if u := chain[0].URIs; len(u) != 1 || u[0].String() != id {
		return fmt.Errorf("verify agent: its certificate is not that of %s but has %v", id, namesOf(chain[0]))
	}
	return nil
}

// verify checks a chain as the handshake does.
func verify(chain []*x509.Certificate, roots *x509.CertPool, use x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errors.New("verify certificate: there is none")
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{use}})
	return err
}

func loadPool(path string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load CA: %s has no certificate", path)
	}
	return pool, nil
}

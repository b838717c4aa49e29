package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"google.golang.org/grpc/credentials"
)

// TLS is what a TCP listener needs: all three files, PEM. There is no TCP
// without client certificates.
type TLS struct {
	Cert     string // the agent's certificate chain
	Key      string // its private key
	ClientCA string // who signs client certificates
	// Operators are the names of clients that may change mode and policy;
	// all others read only. A name says where in the certificate it stands:
	// "cn:NAME" (subject common name), "dns:NAME" or "uri:URI" (alternative names).
	Operators []string
}

func (t TLS) credentials() (credentials.TransportCredentials, error) {
	if t.Cert == "" || t.Key == "" || t.ClientCA == "" {
		return nil, errors.New("listen on TCP: certificate, key and client CA are all required; the event stream is not offered without mutual TLS")
	}
	cert, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	pool, err := loadPool(t.ClientCA)
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS13,
	}), nil
}

// ClientCredentials returns the credentials with which to call a TCP listener:
// the client's own certificate and the CA that signs the agent's.
func ClientCredentials(cert, key, ca, serverName string) (credentials.TransportCredentials, error) {
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("load certificate: %w", err)
	}
	pool, err := loadPool(ca)
	if err != nil {
		return nil, err
	}
	return credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: serverName, MinVersion: tls.VersionTLS13,
	}), nil
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

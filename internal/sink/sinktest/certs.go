package sinktest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certs are files of a CA and of one server and one client that it signed.
type Certs struct{ CA, Cert, Key, ClientCert, ClientKey string }

// MakeCerts writes them. The server is 127.0.0.1 and localhost.
func MakeCerts(t *testing.T) Certs {
	t.Helper()
	dir := t.TempDir()
	caKey, ca := makeKey(t), &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	c := Certs{CA: filepath.Join(dir, "ca.pem")}
	write(t, c.CA, "CERTIFICATE", sign(t, ca, ca, &caKey.PublicKey, caKey))
	leaf := func(name string, usage x509.ExtKeyUsage) (cert, key string) {
		k := makeKey(t)
		der := sign(t, &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		}, ca, &k.PublicKey, caKey)
		b, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		cert, key = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key")
		write(t, cert, "CERTIFICATE", der)
		write(t, key, "PRIVATE KEY", b)
		return cert, key
	}
	c.Cert, c.Key = leaf("server", x509.ExtKeyUsageServerAuth)
	c.ClientCert, c.ClientKey = leaf("client", x509.ExtKeyUsageClientAuth)
	return c
}

func makeKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func sign(t *testing.T, c, by *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, c, by, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func write(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

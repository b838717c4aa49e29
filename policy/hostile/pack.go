// Package hostile makes bundles that are malformed or meant to do harm, for
// tests: each must be refused, with a place and a hint, and none may disturb
// who refuses it. It also signs bundles, good and bad ones.
package hostile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/util"
)

// Files are the files of a bundle, by path.
type Files map[string]string

// With returns a copy with more files; an empty content takes one away.
func (f Files) With(pairs ...string) Files {
	out := maps.Clone(f)
	for i := 0; i < len(pairs); i += 2 {
		if out[pairs[i]] = pairs[i+1]; pairs[i+1] == "" {
			delete(out, pairs[i])
		}
	}
	return out
}

// Good is a bundle with one rule and some data; serial 0 leaves the serial out.
func Good(revision string, serial int) Files {
	m := map[string]any{"revision": revision}
	if serial > 0 {
		m["metadata"] = map[string]any{"bailiff": map[string]any{"serial": serial}}
	}
	b, err := json.Marshal(m)
	must(err)
	return Files{
		".manifest": string(b),
		"data.json": `{"programs": {"/opt/hostile/program": true}}`,
		"exec.rego": "package bailiff.exec\n\n# METADATA\n# custom: {id: listed}\ndeny contains \"listed\" if data.programs[input.file.path]\n",
	}
}

func must(err error) {
	if err != nil {
		panic(err) // of writing to memory
	}
}

// Tar writes the files as a plain tar archive.
func (f Files) Tar() []byte {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(f)) {
		must(tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(f[name])), Typeflag: tar.TypeReg}))
		_, err := tw.Write([]byte(f[name]))
		must(err)
	}
	must(tw.Close())
	return b.Bytes()
}

// Pack writes the files as a tar.gz archive.
func (f Files) Pack() []byte { return Gzip(f.Tar()) }

// Gzip packs bytes.
func Gzip(data []byte) []byte {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	_, err := zw.Write(data)
	must(err)
	must(zw.Close())
	return b.Bytes()
}

// entries packs headers with contents, in this order.
func entries(list ...tar.Header) []byte {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, h := range list {
		content := h.Uname // carries it here; no reader looks at it
		h.Uname = ""
		h.Mode, h.Size = 0o644, int64(len(content))
		must(tw.WriteHeader(&h))
		_, err := tw.Write([]byte(content))
		must(err)
	}
	must(tw.Close())
	return Gzip(b.Bytes())
}

// Signer signs with one key.
type Signer struct {
	ID, Scope string
	key       *ecdsa.PrivateKey
}

// NewSigner makes a key for ES256.
func NewSigner(id, scope string) *Signer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	return &Signer{id, scope, key}
}

// Public returns the public key in PEM.
func (s *Signer) Public() string {
	der, err := x509.MarshalPKIXPublicKey(&s.key.PublicKey)
	must(err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

// Sign returns the files with their signature.
func (s *Signer) Sign(f Files) Files {
	return f.With(".signatures.json", signatures(s.Token(f, nil, nil)))
}

func signatures(tokens ...string) string {
	b, err := json.Marshal(map[string]any{"signatures": tokens})
	must(err)
	return string(b)
}

// Token signs the files. What header and claims hold goes before.
func (s *Signer) Token(f Files, header, claims map[string]any) string {
	var infos []bundle.FileInfo
	for _, name := range slices.Sorted(maps.Keys(f)) {
		infos = append(infos, fileInfo(name, f[name]))
	}
	h := map[string]any{"alg": "ES256", "kid": s.ID}
	c := map[string]any{"files": infos}
	if s.Scope != "" {
		c["scope"] = s.Scope
	}
	maps.Copy(h, header)
	maps.Copy(c, claims)
	hb, err := json.Marshal(h)
	must(err)
	cb, err := json.Marshal(c)
	must(err)
	text := base64.RawURLEncoding.EncodeToString(hb) + "." + base64.RawURLEncoding.EncodeToString(cb)
	sum := sha256.Sum256([]byte(text))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, sum[:])
	must(err)
	sig := make([]byte, 64)
	r.FillBytes(sig[:32])
	v.FillBytes(sig[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// fileInfo hashes as OPA does: data by value, everything else by its bytes.
func fileInfo(name, content string) bundle.FileInfo {
	var value any = []byte(content)
	if bundle.IsStructuredDoc(name) {
		if util.Unmarshal([]byte(content), &value) != nil {
			value = []byte(content)
		}
	}
	h, err := bundle.NewSignatureHasher(bundle.SHA256)
	must(err)
	sum, err := h.HashFile(value)
	must(err)
	return bundle.NewFile(name, hex.EncodeToString(sum), "SHA-256")
}

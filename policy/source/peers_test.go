package source_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/bailiff/policy"
	"example.com/bailiff/policy/hostile"
	"example.com/bailiff/policy/source"
)

// missing skips a test whose peer is not there, and fails in CI.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

// built returns a program of a Go module, built once and kept in build/peers.
func built(t *testing.T, pkg, version string) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", "..", "build", "peers", filepath.Base(pkg)+"-"+version))
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, filepath.Base(pkg))
	if _, err := os.Stat(program); err == nil {
		return program
	}
	cmd := exec.Command("go", "install", pkg+"@"+version)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=-mod=mod")
	if out, err := cmd.CombinedOutput(); err != nil {
		missing(t, fmt.Sprintf("%s %s (go install: %v: %s)", pkg, version, err, out))
	}
	return program
}

// started runs a peer until the test ends; its output is shown if that failed.
func started(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", filepath.Base(name), out.String())
		}
	})
}

// freePort is a port that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// answers waits until somebody does.
func answers(t *testing.T, address string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody answers on %s: %v", address, err)
		}
		<-tick.C
	}
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	// Aside and renamed, or a server hands out half of it.
	if err := os.WriteFile(name+".new", b, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// certificate makes one for 127.0.0.1 that signs itself.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bundles"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	kb, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	write(t, key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: kb}))
	return cert, key
}

// TestNginx fetches over HTTPS from a real nginx, with a CA of our own and a
// token: ETags spare what has not changed, a spoiled bundle changes nothing.
// A real OPA polls the same file with the same key, and answers the same.
func TestNginx(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		missing(t, "nginx (Debian: nginx-light)")
	}
	dir := t.TempDir()
	// Its workers run as somebody else.
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := certificate(t, dir)
	port := freePort(t)
	conf := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log %[1]s/error.log; events {}
http { access_log %[1]s/access.log; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
server { listen 127.0.0.1:%[2]d ssl; ssl_certificate %[3]s; ssl_certificate_key %[4]s; root %[1]s/www;
if ($http_authorization != "Bearer secret-token") { return 401; } } }`, dir, port, cert, key)
	write(t, filepath.Join(dir, "nginx.conf"), []byte(conf))
	write(t, filepath.Join(dir, "token"), []byte("secret-token\n"))
	archive := filepath.Join(dir, "www", "policy", "bundle.tar.gz")
	k := hostile.NewSigner("k1", "prod")
	write(t, archive, k.Sign(hostile.Good("r1", 1)).Pack())
	started(t, nginx, "-c", filepath.Join(dir, "nginx.conf"))
	address := fmt.Sprintf("127.0.0.1:%d", port)
	answers(t, address)

	o := source.Options{Address: "https://" + address + "/policy/bundle.tar.gz", Policy: policy.Options{Keys: keysOf(t, k)}, State: filepath.Join(dir, "state.tar")}
	if _, err := open(t, o).Fetch(t.Context(), false); !source.Unreachable(err) {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	o.Remote.CA = cert
	if _, err := open(t, o).Fetch(t.Context(), false); !source.Unreachable(err) {
		t.Errorf("without a token: %v", err)
	}
	o.Remote.TokenFile = filepath.Join(dir, "token")
	s := open(t, o)
	from := follow(t, s, nil)
	until(t, from, "r1", revision("r1"))
	unchanged := func(n news) bool { return n.c == nil && n.err == nil }
	until(t, from, "an answer without news", unchanged)

	opa := polls(t, dir, address, cert, k)
	same := func(revision string) {
		t.Helper()
		opa.has(t, revision)
		if got := opa.denies(t, "/opt/hostile/program"); !got {
			t.Error("OPA does not deny what the bundle denies")
		}
		if got := opa.denies(t, "/bin/true"); got {
			t.Error("OPA denies what the bundle does not")
		}
	}
	same("r1")

	write(t, archive, k.Sign(hostile.Good("r2", 2)).With("exec.rego", "package bailiff.exec\n").Pack())
	until(t, from, "the refusal", refused(policy.CodeSignature))
	write(t, archive, []byte("<html>502</html>"))
	until(t, from, "the refusal", refused(policy.CodeArchive))
	same("r1") // it refuses them too
	write(t, archive, k.Sign(hostile.Good("r3", 3)).Pack())
	until(t, from, "r3", revision("r3"))
	same("r3")
	write(t, archive, k.Sign(hostile.Good("r2", 2)).Pack())
	until(t, from, "the refusal", refused(policy.CodeRollback))

	log, err := os.ReadFile(filepath.Join(dir, "access.log"))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), "\" 304 "); n == 0 {
		t.Errorf("nothing was spared by ETags:\n%s", log)
	}
}

// opaServer is a real OPA that polls the same server.
type opaServer struct{ base string }

func polls(t *testing.T, dir, address, cert string, k *hostile.Signer) *opaServer {
	t.Helper()
	program := built(t, "github.com/open-policy-agent/opa", "v1.22.2")
	config, err := json.Marshal(map[string]any{
		"services": map[string]any{"web": map[string]any{"url": "https://" + address, "tls": map[string]any{"ca_cert": cert},
			"credentials": map[string]any{"bearer": map[string]any{"token": "secret-token"}}}},
		"keys": map[string]any{k.ID: map[string]any{"key": k.Public(), "algorithm": "ES256", "scope": k.Scope}},
		"bundles": map[string]any{"b": map[string]any{"service": "web", "resource": "policy/bundle.tar.gz",
			"polling": map[string]any{"min_delay_seconds": 1, "max_delay_seconds": 1}, "signing": map[string]any{"keyid": k.ID, "scope": k.Scope}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "opa.json"), config)
	listen := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	started(t, program, "run", "--server", "--disable-telemetry", "--addr", listen, "-c", filepath.Join(dir, "opa.json"))
	answers(t, listen)
	return &opaServer{"http://" + listen}
}

func (o *opaServer) ask(t *testing.T, path string, input any, out any) {
	t.Helper()
	b, err := json.Marshal(map[string]any{"input": input})
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.Post(o.base+"/v1/data/"+path, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if err := json.NewDecoder(r.Body).Decode(out); err != nil {
		t.Fatal(err)
	}
}

// has waits until a revision is active there.
func (o *opaServer) has(t *testing.T, revision string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var out struct {
			Result map[string]struct {
				Manifest struct {
					Revision string `json:"revision"`
				} `json:"manifest"`
			} `json:"result"`
		}
		o.ask(t, "system/bundles", nil, &out)
		if out.Result["b"].Manifest.Revision == revision {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("OPA has %+v, want %s", out, revision)
		}
		<-tick.C
	}
}

func (o *opaServer) denies(t *testing.T, path string) bool {
	t.Helper()
	var out struct {
		Result []string `json:"result"`
	}
	o.ask(t, "bailiff/exec/deny", map[string]any{"file": map[string]any{"path": path}}, &out)
	return len(out.Result) > 0
}

// TestRegistry fetches from a real OCI registry: tags that move are followed,
// what is not signed is refused, and the registry may be away at the start.
func TestRegistry(t *testing.T) {
	program := built(t, "github.com/distribution/distribution/v3/cmd/registry", "v3.1.2")
	dir := t.TempDir()
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	write(t, filepath.Join(dir, "config.yml"), fmt.Appendf(nil,
		"version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp: {addr: %q, secret: x}\n", dir, address))
	k := hostile.NewSigner("k1", "prod")
	o := source.Options{Address: "oci+http://" + address + "/policies/server:stable", Policy: policy.Options{Keys: keysOf(t, k)}, State: filepath.Join(dir, "state.tar")}

	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := open(t, o).Fetch(ctx, false); !source.Unreachable(err) {
		t.Errorf("without a registry: %v", err)
	}
	started(t, program, "serve", filepath.Join(dir, "config.yml"))
	answers(t, address)
	r := &registry{"http://" + address + "/v2/policies/server"}
	r.push(t, "stable", k.Sign(hostile.Good("r1", 1)).Pack())
	s := open(t, o)
	from := follow(t, s, nil)
	until(t, from, "r1", revision("r1"))
	until(t, from, "an answer without news", func(n news) bool { return n.c == nil && n.err == nil })
	r.push(t, "stable", hostile.Good("r2", 2).Pack())
	until(t, from, "the refusal", refused(policy.CodeSignature))
	r.push(t, "stable", k.Sign(hostile.Good("r3", 3)).Pack())
	until(t, from, "r3", revision("r3"))
	r.push(t, "stable", k.Sign(hostile.Good("r1", 1)).Pack())
	until(t, from, "the refusal", refused(policy.CodeRollback))
	if c, err := s.Fetch(t.Context(), true); err != nil || c.Report.Revision != "r1" {
		t.Errorf("older, as the operator says: %+v, %v", c, err)
	}
	r.push(t, "stable", []byte("no archive at all"))
	until(t, from, "the refusal", func(n news) bool { return n.err != nil })
	if c, err := open(t, o).Kept(t.Context()); err != nil || c.Report.Revision != "r3" {
		t.Errorf("kept: %+v, %v", c, err)
	}
}

// registry pushes as the distribution specification says.
type registry struct{ base string }

func (r *registry) call(t *testing.T, method, url, kind string, body []byte) *http.Response {
	t.Helper()
	q, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", kind)
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s: %s", method, url, resp.Status, b)
	}
	return resp
}

func (r *registry) blob(t *testing.T, b []byte) map[string]any {
	t.Helper()
	sum := sha256.Sum256(b)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	to := r.call(t, http.MethodPost, r.base+"/blobs/uploads/", "", nil).Header.Get("Location")
	sep := "?"
	if strings.Contains(to, "?") {
		sep = "&"
	}
	r.call(t, http.MethodPut, to+sep+"digest="+digest, "application/octet-stream", b)
	return map[string]any{"digest": digest, "size": len(b)}
}

func (r *registry) push(t *testing.T, tag string, archive []byte) {
	t.Helper()
	config, layer := r.blob(t, []byte("{}")), r.blob(t, archive)
	config["mediaType"], layer["mediaType"] = "application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar+gzip"
	const kind = "application/vnd.oci.image.manifest.v1+json"
	m, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": kind, "config": config, "layers": []any{layer}})
	if err != nil {
		t.Fatal(err)
	}
	r.call(t, http.MethodPut, r.base+"/manifests/"+tag, kind, m)
}

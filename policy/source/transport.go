package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/open-policy-agent/opa/v1/plugins/rest"

	"example.com/bailiff/policy"
)

// bodyTime is how long a bundle may be on its way, once its server has begun
// to answer.
const bodyTime = 5 * time.Minute

// maxManifest bounds what a registry says that is not a bundle.
const maxManifest = 4 << 20

// arrival is a bundle that came, screened and verified.
type arrival struct {
	raw     []byte
	archive *policy.Archive
}

// screen stands between OPA's HTTP client and the network, for one downloader.
// It lets OPA's own code see to credentials, and takes each bundle before
// anything of OPA's reads it: with limits on what comes, and with the keys.
type screen struct {
	read  func(io.Reader) (*policy.Archive, error)
	limit int64 // of a bundle, packed
	oci   bool
	// prefer is what a web server is asked for; "": what the downloader says.
	prefer func() string
	auth   rest.HTTPAuthPlugin
	empty  []byte

	mu   sync.Mutex
	came *arrival
	err  error // why what came is refused
}

// NewClient implements rest.HTTPAuthPlugin.
func (s *screen) NewClient(c rest.Config) (*http.Client, error) {
	c.Credentials.Plugin = nil // who we are is the business of the one that is configured
	auth, err := c.AuthPlugin(nil)
	if err != nil {
		return nil, err
	}
	client, err := auth.NewClient(c)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth = auth
	wrapped := *client
	wrapped.Transport = &screened{s, client.Transport}
	return &wrapped, nil
}

// Prepare implements rest.HTTPAuthPlugin.
func (s *screen) Prepare(r *http.Request) error {
	if s.prefer != nil {
		if p := s.prefer(); p != "" {
			r.Header.Set("Prefer", p)
		}
	}
	s.mu.Lock()
	auth := s.auth
	s.mu.Unlock()
	return auth.Prepare(r)
}

// take returns what came since the last call.
func (s *screen) take() (*arrival, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	came, err := s.came, s.err
	s.came, s.err = nil, nil
	return came, err
}

type screened struct {
	*screen
	base http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (s *screened) RoundTrip(r *http.Request) (*http.Response, error) {
	base := s.base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK || r.Method != http.MethodGet {
		return resp, err
	}
	slow := time.AfterFunc(bodyTime, func() { _ = resp.Body.Close() })
	body, err := io.ReadAll(io.LimitReader(resp.Body, s.limit+1))
	if cerr := resp.Body.Close(); err == nil && !slow.Stop() {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if s.oci && !bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		// A manifest, or a token. Blobs of a registry may be anywhere, so it
		// is told by its first bytes what is a bundle.
		if len(body) > maxManifest && !strings.Contains(r.URL.Path, "/blobs/") {
			return nil, fmt.Errorf("read answer: it has more than %d bytes", maxManifest)
		}
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return resp, nil
	}
	if len(body) == 0 && !s.oci {
		resp.Body = http.NoBody // the downloader takes it for "nothing new"
		return resp, nil
	}
	a, err := s.read(bytes.NewReader(body))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = err
		return nil, err
	}
	s.came = &arrival{body, a}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if !s.oci {
		// The downloader would parse all of it once more, without our limits:
		// it gets an empty bundle to read.
		resp.Body = io.NopCloser(bytes.NewReader(s.empty))
		resp.ContentLength = int64(len(s.empty))
	}
	return resp, nil
}

// emptyBundle is a bundle that says nothing.
func emptyBundle() ([]byte, error) {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	if err := tar.NewWriter(zw).Close(); err != nil {
		return nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

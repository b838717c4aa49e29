package sinktest

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Collector is a real OpenTelemetry Collector. What it takes by OTLP over gRPC
// it gives on by HTTP to the test, and answers only when that has it.
type Collector struct {
	Address string // host:port

	t    *testing.T
	file string // its configuration
	prog *Program
	http *httptest.Server

	mu      sync.Mutex
	records []LogRecord
}

// LogRecord is a log record as the Collector's JSON has it.
type LogRecord struct {
	EventName      string
	SeverityNumber int
	Body           struct{ StringValue string }
	Attributes     []struct {
		Key   string
		Value struct{ StringValue string }
	}
	Resource map[string]string `json:"-"`
}

// ID is the record's attribute log.record.uid.
func (r *LogRecord) ID() string { return r.Attribute("log.record.uid") }

// Attribute returns an attribute that is text.
func (r *LogRecord) Attribute(key string) string {
	for _, a := range r.Attributes {
		if a.Key == key {
			return a.Value.StringValue
		}
	}
	return ""
}

// NewCollector starts one that speaks TLS.
func NewCollector(t *testing.T, certs Certs) *Collector {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(cache, "bailiff", "peers", "otelcol-0.155.0")
	if _, err := os.Stat(bin); err != nil {
		Missing(t, "the OpenTelemetry Collector: run e2e/peers.sh")
	}
	c := &Collector{t: t, Address: freeAddress(t), file: filepath.Join(t.TempDir(), "otelcol.yaml")}
	c.http = httptest.NewServer(http.HandlerFunc(c.take))
	t.Cleanup(c.http.Close)
	text := fmt.Sprintf(`
receivers:
  otlp:
    protocols:
      grpc:
        endpoint: %s
        tls: {cert_file: %s, key_file: %s, client_ca_file: %s}
exporters:
  otlp_http:
    endpoint: %s
    encoding: json
    sending_queue: {enabled: false}
    retry_on_failure: {enabled: false}
service:
  telemetry: {metrics: {level: none}}
  pipelines:
    logs: {receivers: [otlp], exporters: [otlp_http]}
`, c.Address, certs.Cert, certs.Key, certs.CA, c.http.URL)
	if err := os.WriteFile(c.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c.prog = &Program{Args: []string{bin, "--config", c.file}}
	c.Start()
	return c
}

// Start starts it again after Stop.
func (c *Collector) Start() {
	c.t.Helper()
	c.prog.Start(c.t)
	c.prog.Listens(c.t, c.Address)
}

// Stop ends it.
func (c *Collector) Stop() { c.prog.Stop(c.t) }

// Records returns what came through.
func (c *Collector) Records() []LogRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records[:len(c.records):len(c.records)]
}

func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	var body io.Reader = r.Body
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body = z
	}
	var v struct {
		ResourceLogs []struct {
			Resource struct {
				Attributes []struct {
					Key   string
					Value struct{ StringValue string }
				}
			}
			ScopeLogs []struct{ LogRecords []LogRecord }
		}
	}
	if err := json.NewDecoder(body).Decode(&v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	for _, rl := range v.ResourceLogs {
		from := map[string]string{}
		for _, a := range rl.Resource.Attributes {
			from[a.Key] = a.Value.StringValue
		}
		for _, sl := range rl.ScopeLogs {
			for _, rec := range sl.LogRecords {
				rec.Resource = from
				c.records = append(c.records, rec)
			}
		}
	}
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}")
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

// freePort is one that nobody listened on a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startPrometheus runs the server until the test ends, and returns its address. The
// port that was free a moment ago may be somebody else's by then: it ends, and is
// started again with another.
func startPrometheus(t *testing.T, w *world, server string) string {
	t.Helper()
	client := http.Client{Timeout: time.Second} // whoever has the port may not answer
	ready := func(at string) bool {
		r, err := client.Get("http://" + at + "/-/ready")
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	}
	limit := w.wait()
	for range 5 {
		at := freePort(t)
		ctx, cancel := context.WithCancel(context.Background())
		cmd := exec.CommandContext(ctx, server, "--config.file", w.path("prometheus.yml"), "--storage.tsdb.path", w.path("tsdb"), "--web.listen-address", at)
		log, err := os.Create(w.path("prometheus.log"))
		w.must(err)
		cmd.Stdout, cmd.Stderr = log, log
		w.must(cmd.Start())
		ended := make(chan struct{})
		go func() { _ = cmd.Wait(); close(ended) }()
		t.Cleanup(func() { cancel(); <-ended; log.Close() })
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			select {
			case <-ended:
			case <-limit.Done():
				t.Fatal("Prometheus does not get ready")
			case <-tick.C:
				if ready(at) {
					return at
				}
				continue
			}
			break
		}
		said, _ := os.ReadFile(w.path("prometheus.log"))
		t.Logf("Prometheus ended: %s", said)
	}
	t.Fatal("Prometheus does not run")
	return ""
}

// TestNativePrometheus has a real Prometheus scrape the agent, and asks it
// every question of the dashboard.
func TestNativePrometheus(t *testing.T) {
	if inGuest() {
		t.Skip("natively only: nothing of it depends on the kernel")
	}
	backends(t)
	server, err := exec.LookPath("prometheus")
	if err != nil {
		skipLayer(t, "prometheus", "apt-get install prometheus")
	}
	w, spawner := newSpawner(t, 500)
	agent := freePort(t)
	w.start(event.ModeAudit, "--metrics-listen", agent, "--bpf-stats", "--canary-every", "2s", "--canary-within", "2s")
	w.write(w.path("prometheus.yml"), fmt.Appendf(nil,
		"global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- {job_name: bailiff, static_configs: [{targets: [%q]}]}\n", agent), 0o644)
	prom := startPrometheus(t, w, server)

	ask := func(query string) (n int, err error) {
		r, err := http.Get("http://" + prom + "/api/v1/query?query=" + url.QueryEscape(query))
		if err != nil {
			return 0, err
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return 0, err
		}
		var a struct {
			Status, Error string
			Data          struct{ Result []json.RawMessage }
		}
		if err := json.Unmarshal(b, &a); err != nil {
			return 0, fmt.Errorf("read answer: %w: %s", err, b)
		}
		if a.Status != "success" {
			return 0, fmt.Errorf("%s: %s", query, a.Error)
		}
		return len(a.Data.Result), nil
	}
	eventually(t, "the agent is scraped", func() bool { n, err := ask(`up == 1`); return err == nil && n == 1 })
	for range 3 {
		_, err := w.actor().Exec(spawner)
		w.must(err)
		<-time.After(1100 * time.Millisecond) // a rate needs two scrapes
	}
	eventually(t, "the canary is seen", func() bool { n, err := ask(`bailiff_canary_ok == 1`); return err == nil && n == 1 })

	b, err := os.ReadFile("../docs/grafana/bailiff.json")
	w.must(err)
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	w.must(json.Unmarshal(b, &d))
	answered := 0
	for _, p := range d.Panels {
		for _, q := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "1m", "$instance", ".*").Replace(q.Expr)
			n, err := ask(expr)
			if err != nil {
				t.Errorf("panel %q: %v", p.Title, err)
			}
			if n > 0 {
				answered++
			} else {
				t.Logf("nothing to see: %s: %s", p.Title, expr)
			}
		}
	}
	if answered < 20 {
		t.Errorf("only %d questions have an answer", answered)
	}
	w.stopOnly()
}

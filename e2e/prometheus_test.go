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
	agent, prom := freePort(t), freePort(t)
	w.start(event.ModeAudit, "--metrics-listen", agent, "--bpf-stats", "--canary-every", "2s", "--canary-within", "2s")
	w.write(w.path("prometheus.yml"), fmt.Appendf(nil,
		"global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n- {job_name: bailiff, static_configs: [{targets: [%q]}]}\n", agent), 0o644)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, server, "--config.file", w.path("prometheus.yml"), "--storage.tsdb.path", w.path("tsdb"), "--web.listen-address", prom)
	log, err := os.Create(w.path("prometheus.log"))
	w.must(err)
	cmd.Stdout, cmd.Stderr = log, log
	w.must(cmd.Start())
	t.Cleanup(func() { cancel(); _ = cmd.Wait(); log.Close() })

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

package main

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/bailiff/bpf"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/sink"
)

// full is a collector that has something to say about everything.
func full(t *testing.T) *collector {
	t.Helper()
	d := newDecisions()
	for range 3 {
		d.Emit(&event.Event{Hook: event.HookExec, Time: time.Now(), Decision: event.Decision{Verdict: event.VerdictDeny, Effect: event.EffectKilled, Source: event.SourceTable}})
	}
	d.Emit(&event.Event{Agent: &event.Notice{}})
	d.evaluated(event.HookOpen, time.Millisecond)
	c := newCollector(&scripted{mode: event.ModeEnforce}, d)
	c.streams = func() (int, map[string]uint64) { return 2, map[string]uint64{"stream_lost": 4, "stream_events": 9} }
	c.redacted = func() map[string]uint64 { return map[string]uint64{"password": 5} }
	c.programs = func() ([]bpf.ProgramStat, error) {
		return []bpf.ProgramStat{{Name: "lsm_open", Runs: 10, Time: time.Second}}, nil
	}
	c.sinks = func() map[string]sink.Stats { return map[string]sink.Stats{"siem": {Events: 3, Lag: 8, Failing: true}} }
	return c
}

func scrape(t *testing.T, c *collector) string {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatal(w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	got := scrape(t, full(t))
	for _, want := range []string{
		`bailiff_decisions_total{effect="killed",hook="exec",verdict="deny"} 3`,
		`bailiff_decision_latency_seconds_count{source="table"} 3`,
		`bailiff_policy_evaluation_seconds_count{hook="open"} 1`,
		`bailiff_dropped_events_total{reason="ring_full_open"} 3`,
		`bailiff_fail_open_total{by="enforcer",reason="queue_full"} 1`,
		`bailiff_events_emitted_total 12`,
		`bailiff_condition{code="policy-stale",severity="high"} 1`,
		`bailiff_rules{class="kernel"} 2`,
		`bailiff_info{backend="lsm",revision="r1",version="v1"} 1`,
		`bailiff_enforcing 1`,
		`bailiff_policy_generation 3`,
		`bailiff_ring_used_bytes 1536`,
		`bailiff_spool_bytes 3.145728e+06`,
		`bailiff_consumer_lag_events{consumer="siem"} 7`,
		`bailiff_stream_lost_events_total 4`,
		`bailiff_redacted_total{rule="password"} 5`,
		`bailiff_bpf_run_seconds_total{program="lsm_open"} 1`,
		`bailiff_canary_ok 0`,
		`bailiff_sink_lag_events{sink="siem"} 8`,
		`bailiff_sink_failing{sink="siem"} 1`,
		`bailiff_canary_seconds{stage="seen"} 0.0015`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

// TestCountersHaveOneMetric: two names of the status never become the same
// line.
func TestCountersHaveOneMetric(t *testing.T) {
	for name, want := range map[string]string{
		"kernel_drop_ring_full_exec": "bailiff_dropped_events_total[ring_full_exec]", "kernel_fail_open_context": "bailiff_fail_open_total[context kernel]",
		"kernel_seen_exec": "bailiff_kernel_seen_total[exec]", "kernel_cache_hit": "bailiff_cache_answers_total[kernel]",
		"spool_lost_write": "bailiff_spool_lost_events_total[write]", "spool_written": "bailiff_counter_total[spool_written]",
		"late_kills": "bailiff_counter_total[late_kills]", "spool_bytes": "[]",
	} {
		metric, labels := named(name)
		if got := metric + "[" + strings.Join(labels, " ") + "]"; got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// names lists all metrics of ours.
func names() []string {
	out := []string{"bailiff_decision_latency_seconds", "bailiff_policy_evaluation_seconds"}
	for _, m := range catalogue() {
		out = append(out, m.name)
	}
	return out
}

var metricName = regexp.MustCompile(`\bbailiff_[a-z_]+`)

// used is the metric that a series belongs to.
func used(series string) string {
	for _, end := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(series, end); ok {
			return base
		}
	}
	return series
}

// TestMetricsAreDocumented: docs/metrics.md names each metric, and none that
// there is not.
func TestMetricsAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range names() {
		if !strings.Contains(string(page), "`"+m+"`") {
			t.Errorf("docs/metrics.md does not have %s", m)
		}
	}
	for _, m := range metricName.FindAllString(string(page), -1) {
		if !slices.Contains(names(), used(m)) && m != "bailiff_stats" {
			t.Errorf("docs/metrics.md has %s, which there is not", m)
		}
	}
}

// TestDashboard: each query of the dashboard is about metrics that there are,
// and what there is to see is on it.
func TestDashboard(t *testing.T) {
	b, err := os.ReadFile("../../docs/grafana/bailiff.json")
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Templating struct{ List []struct{ Query string } }
	}
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, p := range d.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, q := range p.Targets {
			found := metricName.FindAllString(q.Expr, -1)
			if len(found) == 0 {
				t.Errorf("panel %q asks for nothing of ours: %s", p.Title, q.Expr)
			}
			for _, m := range found {
				shown[used(m)] = true
				if !slices.Contains(names(), used(m)) {
					t.Errorf("panel %q asks for %s, which there is not", p.Title, m)
				}
			}
		}
	}
	for _, v := range d.Templating.List {
		for _, m := range metricName.FindAllString(v.Query, -1) {
			if !slices.Contains(names(), m) {
				t.Errorf("a variable asks for %s, which there is not", m)
			}
		}
	}
	if len(shown) < 20 {
		t.Errorf("only %d metrics are shown: %v", len(shown), slices.Sorted(maps.Keys(shown)))
	}
}

// TestPromtool asks Prometheus itself what it thinks of names and help.
func TestPromtool(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is missing: apt-get install prometheus")
		}
		t.Skip("promtool is missing: apt-get install prometheus")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, "check", "metrics")
	cmd.Stdin = strings.NewReader(scrape(t, full(t)))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestMetricsAddressInUse(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	err := serveMetrics(context.Background(), srv.Listener.Addr().String(), full(t), hclog.NewNullLogger())
	if err == nil || !strings.Contains(err.Error(), "listen for metrics") {
		t.Errorf("got %v", err)
	}
}

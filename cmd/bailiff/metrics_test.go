package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/bailiff/internal/event"
)

func TestMetrics(t *testing.T) {
	d := &decisions{}
	for range 3 {
		d.Emit(&event.Event{Hook: event.HookExec, Decision: event.Decision{Verdict: event.VerdictDeny, Effect: event.EffectKilled}})
	}
	d.Emit(&event.Event{Agent: &event.Notice{}})
	reg := prometheus.NewRegistry()
	reg.MustRegister(collector{&scripted{mode: event.ModeEnforce}, d})
	w := httptest.NewRecorder()
	promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	got := w.Body.String()
	for _, want := range []string{
		`bailiff_decisions_total{effect="killed",hook="exec",verdict="deny"} 3`,
		`bailiff_dropped_events_total{reason="ring_full_open"} 3`,
		`bailiff_fail_open_total{by="enforcer",reason="queue_full"} 1`,
		`bailiff_events_emitted_total 12`,
		`bailiff_condition{code="policy-stale",severity="high"} 1`,
		`bailiff_rules{class="kernel"} 2`,
		`bailiff_info{backend="lsm",revision="r1",version="v1"} 1`,
		`bailiff_enforcing 1`,
		`bailiff_policy_generation 3`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

func TestMetricsAddressInUse(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	err := serveMetrics(context.Background(), srv.Listener.Addr().String(), &scripted{}, &decisions{}, hclog.NewNullLogger())
	if err == nil || !strings.Contains(err.Error(), "listen for metrics") {
		t.Errorf("got %v", err)
	}
}

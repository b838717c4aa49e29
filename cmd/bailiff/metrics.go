package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/bailiff/bpf"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/sink"
)

// collector makes metrics out of the agent's status at each scrape: there is
// one count of everything, not two.
type collector struct {
	agent     server.Agent
	decisions *decisions
	streams   func() (open int, counters map[string]uint64)
	redacted  func() map[string]uint64
	programs  func() ([]bpf.ProgramStat, error)
	sinks     func() map[string]sink.Stats
	descs     map[string]*prometheus.Desc
	kinds     map[string]prometheus.ValueType
}

// newCollector leaves out what is nil.
func newCollector(a server.Agent, d *decisions) *collector {
	c := &collector{agent: a, decisions: d, descs: map[string]*prometheus.Desc{}, kinds: map[string]prometheus.ValueType{}}
	for _, m := range catalogue() {
		c.descs[m.name] = prometheus.NewDesc(m.name, m.help, m.labels, nil)
		c.kinds[m.name] = m.kind
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
	c.decisions.latency.Describe(out)
	c.decisions.engine.Describe(out)
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	put := func(name string, v float64, labels ...string) {
		for i := range labels {
			labels[i] = strings.ToValidUTF8(labels[i], "\ufffd")
		}
		out <- prometheus.MustNewConstMetric(c.descs[name], c.kinds[name], v, labels...)
	}
	s := c.agent.Status()
	put("bailiff_info", 1, s.Version, s.Backend, s.Revision)
	put("bailiff_enforcing", float64(s.Mode))
	put("bailiff_policy_generation", float64(s.Generation))
	put("bailiff_policy_loaded_timestamp_seconds", seconds(s.PolicyLoaded))
	for class, n := range s.RuleClasses {
		put("bailiff_rules", float64(n), class)
	}
	for _, cond := range s.Conditions {
		put("bailiff_condition", 1, cond.Code, cond.Severity)
	}
	if c.streams != nil {
		open, counters := c.streams()
		put("bailiff_stream_subscribers", float64(open))
		for name, n := range counters {
			s.Counters[name] = n
		}
	}
	for name, n := range s.Counters {
		if metric, labels := named(name); metric != "" {
			put(metric, float64(n), labels...)
		}
	}
	put("bailiff_ring_used_bytes", float64(s.Ring.Used))
	put("bailiff_ring_size_bytes", float64(s.Ring.Size))
	c.way(put, &s)
	c.measured(put)
	for h := range c.decisions.n {
		for v := range c.decisions.n[h] {
			for e := range c.decisions.n[h][v] {
				if n := c.decisions.n[h][v][e].Load(); n > 0 {
					put("bailiff_decisions_total", float64(n), event.Hook(h).String(), event.Verdict(v).String(), event.Effect(e).String())
				}
			}
		}
	}
	c.decisions.latency.Collect(out)
	c.decisions.engine.Collect(out)
}

// way is what happens to events after the decision.
func (c *collector) way(put func(string, float64, ...string), s *server.Status) {
	if p := s.Spool; p != nil {
		put("bailiff_spool_bytes", float64(p.Bytes))
		put("bailiff_spool_max_bytes", float64(p.MaxBytes))
		put("bailiff_spool_segments", float64(p.Segments))
		if !p.Oldest.IsZero() {
			put("bailiff_spool_oldest_timestamp_seconds", seconds(p.Oldest))
		}
		for _, r := range p.Consumers {
			if !r.Unknown {
				put("bailiff_consumer_lag_events", float64(r.Behind), r.Name)
			}
		}
	}
	k := s.Canary
	if k == nil || k.Time.IsZero() {
		return
	}
	ok := 0.0
	if k.Stage == "done" {
		ok = 1
	}
	put("bailiff_canary_ok", ok)
	put("bailiff_canary_timestamp_seconds", seconds(k.Time))
	if k.Seen > 0 {
		put("bailiff_canary_seconds", k.Seen.Seconds(), "seen")
	}
	if k.Streamed > 0 {
		put("bailiff_canary_seconds", k.Streamed.Seconds(), "streamed")
	}
}

func (c *collector) measured(put func(string, float64, ...string)) {
	if c.sinks != nil {
		putSinks(put, c.sinks())
	}
	if c.redacted != nil {
		for rule, n := range c.redacted() {
			put("bailiff_redacted_total", float64(n), rule)
		}
	}
	if c.programs == nil {
		return
	}
	stats, err := c.programs()
	if err != nil {
		return // a scrape without them says that they are not to be had
	}
	for _, p := range stats {
		put("bailiff_bpf_runs_total", float64(p.Runs), p.Name)
		put("bailiff_bpf_run_seconds_total", p.Time.Seconds(), p.Name)
	}
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// serveMetrics answers scrapes until the context ends; at once if addr is empty.
func serveMetrics(ctx context.Context, addr string, c *collector, log hclog.Logger) error {
	if addr == "" {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for metrics on %s: %w", addr, err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(c, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	log.Info("serving metrics", "address", l.Addr().String())
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

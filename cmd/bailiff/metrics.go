package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
)

// decisions counts events by hook, verdict and effect. It is a sink.
type decisions struct {
	n [8][8][8]atomic.Uint64
}

// Emit counts e; it keeps nothing of it.
func (d *decisions) Emit(e *event.Event) {
	if e.Agent == nil {
		d.n[e.Hook&7][e.Decision.Verdict&7][e.Decision.Effect&7].Add(1)
	}
}

// collector makes metrics out of the agent's status at each scrape: there is
// one count of everything, not two.
type collector struct {
	agent     server.Agent
	decisions *decisions
}

// Describe says nothing: which counters there are is the agent's business.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(out chan<- prometheus.Metric) {
	gauge := func(name, help string, v float64, labels ...string) {
		out <- metric(prometheus.GaugeValue, name, help, v, labels...)
	}
	counter := func(name, help string, v uint64, labels ...string) {
		out <- metric(prometheus.CounterValue, name, help, float64(v), labels...)
	}
	s := c.agent.Status()
	gauge("bailiff_info", "Constant 1, with what is in use.", 1, "version", s.Version, "backend", s.Backend, "revision", s.Revision)
	gauge("bailiff_enforcing", "1 in enforce mode, 0 in audit mode.", float64(s.Mode))
	gauge("bailiff_policy_generation", "Number of the installed rule program.", float64(s.Generation))
	gauge("bailiff_policy_loaded_timestamp_seconds", "When the policy came into force.", float64(s.PolicyLoaded.UnixMilli())/1000)
	for class, n := range s.RuleClasses {
		gauge("bailiff_rules", "Rules by where they are decided.", float64(n), "class", class)
	}
	for _, cond := range s.Conditions {
		gauge("bailiff_condition", "1 while the condition is raised.", 1, "code", cond.Code, "severity", cond.Severity)
	}
	for name, n := range s.Counters {
		if name == "spool_bytes" || name == "spool_segments" {
			gauge("bailiff_"+name, "State of the spool: "+name+".", float64(n))
		} else if reason, ok := strings.CutPrefix(name, "spool_lost_"); ok {
			counter("bailiff_spool_lost_events_total", "Events that the spool does not have.", n, "reason", reason)
		} else if reason, ok := strings.CutPrefix(name, "kernel_drop_"); ok {
			counter("bailiff_dropped_events_total", "Events lost by the kernel side.", n, "reason", reason)
		} else if reason, ok := strings.CutPrefix(name, "kernel_fail_open_"); ok {
			counter("bailiff_fail_open_total", "Acts that passed unjudged.", n, "reason", reason, "by", "kernel")
		} else if reason, ok := strings.CutPrefix(name, "fail_open_"); ok {
			counter("bailiff_fail_open_total", "Acts that passed unjudged.", n, "reason", reason, "by", "enforcer")
		} else if hook, ok := strings.CutPrefix(name, "kernel_events_"); ok {
			counter("bailiff_kernel_events_total", "Events that the kernel side saw.", n, "hook", hook)
		} else {
			counter("bailiff_"+name+"_total", "Counter of the agent: "+name+".", n)
		}
	}
	for h := range c.decisions.n {
		for v := range c.decisions.n[h] {
			for e := range c.decisions.n[h][v] {
				if n := c.decisions.n[h][v][e].Load(); n > 0 {
					counter("bailiff_decisions_total", "Events by hook, verdict and effect.", n,
						"hook", event.Hook(h).String(), "verdict", event.Verdict(v).String(), "effect", event.Effect(e).String())
				}
			}
		}
	}
}

// metric makes one; labels are name, value, name, value...
func metric(kind prometheus.ValueType, name, help string, v float64, labels ...string) prometheus.Metric {
	var names, values []string
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, strings.ToValidUTF8(labels[i+1], "\ufffd"))
	}
	return prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, v, values...)
}

// serveMetrics answers scrapes until the context ends; at once if addr is empty.
func serveMetrics(ctx context.Context, addr string, ag server.Agent, d *decisions, log hclog.Logger) error {
	if addr == "" {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for metrics on %s: %w", addr, err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collector{ag, d}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	log.Info("serving metrics", "address", l.Addr().String())
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

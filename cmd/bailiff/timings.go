package main

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"example.com/bailiff/internal/event"
)

// decisions counts events by hook, verdict and effect, and how long their
// decisions took. It is a sink.
type decisions struct {
	n       [16][8][8]atomic.Uint64
	latency *prometheus.HistogramVec
	sources [8]prometheus.Observer
	engine  *prometheus.HistogramVec
	hooks   [16]prometheus.Observer
}

func newDecisions() *decisions {
	d := &decisions{
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "bailiff_decision_latency_seconds",
			Help:    "From the act in the kernel to its finished decision in user space, by who decided. Verdicts of table and cache were in force at the act.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10},
		}, []string{"source"}),
		engine: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "bailiff_policy_evaluation_seconds",
			Help:    "One evaluation by OPA, by hook.",
			Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1},
		}, []string{"hook"}),
	}
	for i := range d.sources {
		d.sources[i] = d.latency.WithLabelValues(event.Source(i).String())
	}
	for _, p := range event.Judged {
		for _, h := range p.Hooks() {
			d.hooks[h] = d.engine.WithLabelValues(h.String())
		}
	}
	// What is never observed is not shown.
	for i := range d.sources {
		if event.Source(i) > event.SourceDefault || i == int(event.SourceNone) {
			d.latency.DeleteLabelValues(event.Source(i).String())
		}
	}
	return d
}

// Emit counts e; it keeps nothing of it.
func (d *decisions) Emit(e *event.Event) {
	if e.Agent != nil {
		return
	}
	d.n[e.Hook&15][e.Decision.Verdict&7][e.Decision.Effect&7].Add(1)
	if s := e.Decision.Source; s != event.SourceNone {
		d.sources[s&7].Observe(max(0, time.Since(e.Time)).Seconds())
	}
}

// evaluated counts one evaluation by the engine.
func (d *decisions) evaluated(h event.Hook, took time.Duration) {
	if o := d.hooks[h&15]; o != nil {
		o.Observe(took.Seconds())
	}
}

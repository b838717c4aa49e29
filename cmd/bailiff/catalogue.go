package main

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// measure describes one metric. Every metric of ours has a line in catalogue,
// and one in docs/metrics.md.
type measure struct {
	name   string
	help   string
	kind   prometheus.ValueType
	labels []string
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

// catalogue lists the metrics that are made of the agent's status at a scrape.
// The histograms are in timings.go.
func catalogue() []measure {
	return []measure{
		{"bailiff_info", "Constant 1, with what is in use.", gauge, []string{"version", "backend", "revision"}},
		{"bailiff_enforcing", "1 in enforce mode, 0 in audit mode.", gauge, nil},
		{"bailiff_policy_generation", "Number of the installed rule program.", gauge, nil},
		{"bailiff_policy_loaded_timestamp_seconds", "When the policy came into force.", gauge, nil},
		{"bailiff_rules", "Rules by where they are decided.", gauge, []string{"class"}},
		{"bailiff_condition", "1 while the condition is raised.", gauge, []string{"code", "severity"}},

		{"bailiff_decisions_total", "Events by hook, verdict and effect.", counter, []string{"hook", "verdict", "effect"}},
		{"bailiff_kernel_events_total", "Events that the kernel side told.", counter, []string{"hook"}},
		{"bailiff_kernel_seen_total", "Acts that the kernel side judged.", counter, []string{"hook"}},
		{"bailiff_dropped_events_total", "Events lost by the kernel side.", counter, []string{"reason"}},
		{"bailiff_fail_open_total", "Acts that passed unjudged.", counter, []string{"reason", "by"}},
		{"bailiff_fail_closed_total", "Conditions that counted as met because they could not be looked at.", counter, []string{"reason"}},
		{"bailiff_divergences_total", "Decisions on which kernel and OPA disagree.", counter, nil},
		{"bailiff_events_read_total", "Events read from the ring buffer.", counter, nil},
		{"bailiff_events_emitted_total", "Events given to spool, stream and other ways out, notices included.", counter, nil},
		{"bailiff_ring_used_bytes", "Bytes of the ring buffer that wait to be read.", gauge, nil},
		{"bailiff_ring_size_bytes", "Size of the ring buffer.", gauge, nil},
		{"bailiff_bpf_runs_total", "Runs of a BPF program; only while the kernel measures.", counter, []string{"program"}},
		{"bailiff_bpf_run_seconds_total", "Time spent in a BPF program; only while the kernel measures.", counter, []string{"program"}},

		{"bailiff_cache_answers_total", "Undecided acts by how the verdict was found: hit (kept), shared (asked for by another act), kernel (put there before), evaluated.",
			counter, []string{"by"}},
		{"bailiff_redacted_total", "Secrets hidden in events, by rule.", counter, []string{"rule"}},

		{"bailiff_spool_bytes", "Bytes in the spool.", gauge, nil},
		{"bailiff_spool_max_bytes", "Bytes from which the oldest events go.", gauge, nil},
		{"bailiff_spool_segments", "Files of the spool.", gauge, nil},
		{"bailiff_spool_oldest_timestamp_seconds", "No event that is kept is older.", gauge, nil},
		{"bailiff_spool_lost_events_total", "Events that the spool does not have.", counter, []string{"reason"}},
		{"bailiff_consumer_lag_events", "Events after what a named reader has acknowledged.", gauge, []string{"consumer"}},
		{"bailiff_stream_subscribers", "Open streams.", gauge, nil},
		{"bailiff_stream_events_total", "Events sent to subscribers, each counted for itself.", counter, nil},
		{"bailiff_stream_lost_events_total", "Events lost by subscribers of the live stream that were too slow.", counter, nil},

		{"bailiff_sink_events_total", "Events that the receiver of a way out has confirmed.", counter, []string{"sink"}},
		{"bailiff_sink_records_total", "Records that it has confirmed: one event may make two.", counter, []string{"sink"}},
		{"bailiff_sink_retried_records_total", "Records that had to be sent again.", counter, []string{"sink"}},
		{"bailiff_sink_rejected_records_total", "Records that the receiver will never take.", counter, []string{"sink"}},
		{"bailiff_sink_lost_events_total", "Events lost before a way out could read them, and told as gaps.", counter, []string{"sink"}},
		{"bailiff_sink_failures_total", "Tries of a way out that ended in an error.", counter, []string{"sink"}},
		{"bailiff_sink_lag_events", "Events that wait for a way out.", gauge, []string{"sink"}},
		{"bailiff_sink_lag_seconds", "Age of the newest event that was confirmed, while others wait.", gauge, []string{"sink"}},
		{"bailiff_sink_failing", "1 while the last try to send has failed.", gauge, []string{"sink"}},

		{"bailiff_canary_timestamp_seconds", "When the last canary act was done.", gauge, nil},
		{"bailiff_canary_ok", "1 if the last canary act came out of the stream in time.", gauge, nil},
		{"bailiff_canary_seconds", "How long the last canary act took to the decision (seen) and to a client (streamed); absent if it did not come.",
			gauge, []string{"stage"}},

		{"bailiff_counter_total", "What the agent counted and no metric of its own is for, by its name in bailiff status.", counter, []string{"name"}},
	}
}

// named puts a counter of the agent's status under its metric. Gauges that the
// status counts too have none.
func named(name string) (metric string, labels []string) {
	switch name {
	case "divergences", "events_read", "events_emitted", "stream_events":
		return "bailiff_" + name + "_total", nil
	case "stream_lost":
		return "bailiff_stream_lost_events_total", nil
	case "cache_hits":
		return "bailiff_cache_answers_total", []string{"hit"}
	case "cache_shared":
		return "bailiff_cache_answers_total", []string{"shared"}
	case "kernel_cache_hit":
		return "bailiff_cache_answers_total", []string{"kernel"}
	case "policy_evaluations":
		return "bailiff_cache_answers_total", []string{"evaluated"}
	case "spool_bytes", "spool_segments":
		return "", nil
	}
	if strings.HasPrefix(name, "sink_") { // putSinks has them
		return "", nil
	}
	for _, p := range []struct{ prefix, metric, by string }{
		{"spool_lost_", "bailiff_spool_lost_events_total", ""},
		{"kernel_drop_", "bailiff_dropped_events_total", ""},
		{"kernel_fail_open_", "bailiff_fail_open_total", "kernel"},
		{"fail_open_", "bailiff_fail_open_total", "enforcer"},
		{"kernel_fail_closed_", "bailiff_fail_closed_total", ""},
		{"kernel_events_", "bailiff_kernel_events_total", ""},
		{"kernel_seen_", "bailiff_kernel_seen_total", ""},
	} {
		rest, ok := strings.CutPrefix(name, p.prefix)
		switch {
		case ok && p.by != "":
			return p.metric, []string{rest, p.by}
		case ok:
			return p.metric, []string{rest}
		}
	}
	return "bailiff_counter_total", []string{name}
}

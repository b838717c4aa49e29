package main

import "example.com/bailiff/internal/sink"

// stats returns what each way out has counted, by its name.
func (w *ways) stats() map[string]sink.Stats {
	out := map[string]sink.Stats{}
	for _, r := range w.runners {
		out[r.Name()] = r.Stats()
	}
	return out
}

// putSinks makes metrics of it.
func putSinks(put func(string, float64, ...string), all map[string]sink.Stats) {
	for name, s := range all {
		put("bailiff_sink_events_total", float64(s.Events), name)
		put("bailiff_sink_records_total", float64(s.Records), name)
		put("bailiff_sink_retried_records_total", float64(s.Retried), name)
		put("bailiff_sink_rejected_records_total", float64(s.Rejected), name)
		put("bailiff_sink_lost_events_total", float64(s.Lost), name)
		put("bailiff_sink_failures_total", float64(s.Failures), name)
		put("bailiff_sink_lag_events", float64(s.Lag), name)
		put("bailiff_sink_lag_seconds", s.LagTime.Seconds(), name)
		failing := 0.0
		if s.Failing {
			failing = 1
		}
		put("bailiff_sink_failing", failing, name)
	}
}

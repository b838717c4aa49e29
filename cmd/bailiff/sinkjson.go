package main

import (
	"bytes"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/sink"
)

// jsonMapper writes the lines of `bailiff events -o json`: a start before the
// first event of each run, events, gaps.
type jsonMapper struct {
	version string // of the agent
	run     event.Run
}

// Map implements sink.Mapper.
func (m *jsonMapper) Map(dst []sink.Record, it *sink.Item) []sink.Record {
	add := func(id string, v any) {
		b, err := jsonLine(v)
		if err != nil {
			return // cannot be: these types have a JSON form
		}
		dst = append(dst, sink.Record{ID: id, Severity: sink.SeverityOf(it), Body: bytes.TrimSuffix(b, []byte("\n")), Item: it})
	}
	if it.Gap != nil {
		g := it.Gap
		add(it.ID(), map[string]any{"gap": jsonGap{g.Count, g.First, g.Last, g.Reason.String(), it.Run.ID, g.AtLeast}})
		return dst
	}
	if it.Run != m.run {
		m.run = it.Run
		add(it.ID()+"/start", map[string]any{"start": jsonStart{AgentVersion: m.version, BootID: it.Run.Boot, RunID: it.Run.ID, AfterSeq: it.Seq - 1}})
	}
	add(it.ID(), encodeEvent(server.Encode(it.Event)))
	return dst
}

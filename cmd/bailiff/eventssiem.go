package main

import (
	"net"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/sink"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// siemPrinter turns the stream into the formats of other ways out.
type siemPrinter struct {
	mapper  sink.Mapper
	run     event.Run // of the last start
	last    time.Time // of the last event
	records []sink.Record
}

// printSIEM writes one record of the stream as OCSF or ECS.
func (p *printer) printSIEM(r *bailiffv1.Record) error {
	if p.siem == nil {
		p.siem = &siemPrinter{}
	}
	s := p.siem
	switch {
	case r.GetStart() != nil:
		st := r.GetStart()
		s.run = event.Run{ID: st.GetRunId(), Boot: st.GetBootId()}
		m, err := mapperOf(p.output, p.flags.ocsfVersion, p.flags.alsoFindings, p.machine(st.GetAgentVersion()))
		if err != nil {
			return usageError{err}
		}
		s.mapper = m
		return nil
	case s.mapper == nil: // nothing comes before a start
		return nil
	}
	it := &sink.Item{Run: s.run}
	switch {
	case r.GetEvent() != nil:
		it.Event = server.Decode(r.GetEvent())
		it.Seq, it.Time = it.Event.Seq, it.Event.Time
		s.last = it.Time
	case r.GetGap() != nil:
		g := r.GetGap()
		it.Gap = &event.KeptGap{First: g.GetFirstSeq(), Last: g.GetLastSeq(), Count: g.GetCount(), AtLeast: g.GetAtLeast()}
		it.Why, it.Time = server.GapReason(g.GetReason()), s.last
		if id := g.GetRunId(); id != "" && id != s.run.ID {
			it.Run = event.Run{ID: id}
		}
		if it.Time.IsZero() {
			it.Time = time.Now()
		}
	default:
		return nil // of a newer agent
	}
	s.records = s.mapper.Map(s.records[:0], it)
	for i := range s.records {
		if _, err := p.out.Write(append(s.records[i].Body, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// machine is where the agent runs: here, or at the address that was called.
func (p *printer) machine(version string) sink.Host {
	host, _, err := net.SplitHostPort(p.target)
	if err != nil { // a socket
		return thisHost("", version)
	}
	return sink.Host{Name: host, Version: version}
}

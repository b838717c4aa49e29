package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/ecs"
	"example.com/bailiff/internal/sink/file"
	"example.com/bailiff/internal/sink/nats"
	"example.com/bailiff/internal/sink/ocsf"
	"example.com/bailiff/internal/sink/otlp"
	"example.com/bailiff/internal/sink/syslog"
	"example.com/bailiff/internal/spool"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// sinkGrace is how long receivers have to take what is left at the end. The
// rest is sent by the next run, if there is a spool.
const sinkGrace = 3 * time.Second

// ways are the ways out that are configured.
type ways struct {
	log      hclog.Logger
	runners  []*sink.Runner
	memories []*sink.Memory // one for each, if the agent keeps no spool

	mu      sync.Mutex
	failing map[string]string // name -> what is wrong
	told    sync.Mutex        // one condition at a time
}

// Emit gives an event to the ways out when there is no spool that they could
// read it from. It implements enforcer.Sink.
func (w *ways) Emit(e *event.Event) {
	if len(w.memories) == 0 {
		return
	}
	b := server.AppendEvent(nil, e)
	for _, m := range w.memories {
		m.Append(e.Seq, b)
	}
}

// prepare makes the memories, before the first event.
func (w *ways) prepare(cfg *config, run event.Run) {
	if cfg.Spool.Dir != spoolOff {
		return
	}
	for range cfg.Sinks {
		w.memories = append(w.memories, sink.NewMemory(run, 0, 0))
	}
}

// open makes the ways out.
func (w *ways) open(cfg *config, out *os.File, ag *agent, kept *spool.Log) error {
	w.log, w.failing = ag.log.Named("sink"), map[string]string{}
	h := thisHost(cfg.Cluster, ag.id.Version)
	for i := range cfg.Sinks {
		c := &cfg.Sinks[i]
		m, err := mapperOf(c.Format, c.OCSFVersion, c.Findings, h)
		if err != nil {
			return err
		}
		o := sink.Options{
			Name: c.Name, From: kept, Decode: decodeKept, Mapper: m, Sender: senderOf(c, out, h), Log: w.log,
			FindingsOnly: c.Select == "findings",
			Trouble:      func(err error) { w.trouble(ag, c.Name, err) },
		}
		if kept == nil {
			o.From = w.memories[i]
		}
		w.runners = append(w.runners, sink.NewRunner(o))
		w.log.Info("events go out", "sink", c.Name, "type", c.Type, "format", c.Format, "select", c.Select, "durable", kept != nil)
	}
	return nil
}

func decodeKept(b []byte) (*event.Event, error) {
	p := &bailiffv1.Event{}
	if err := proto.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("decode event: %w", err)
	}
	return server.Decode(p), nil
}

func mapperOf(format, version string, findings bool, h sink.Host) (sink.Mapper, error) {
	switch format {
	case "ecs":
		return ecs.New(h), nil
	case "json":
		return &jsonMapper{version: h.Version}, nil
	}
	return ocsf.New(ocsf.Options{Version: version, Findings: findings, Host: h})
}

func senderOf(c *sinkConfig, out *os.File, h sink.Host) sink.Sender {
	switch c.Type {
	case "otlp":
		return otlp.New(otlp.Options{Address: c.Address, TLS: c.tls(), Plain: c.Plain, Headers: c.Headers, NoBody: c.Body == "message", Host: h})
	case "nats":
		return nats.New(nats.Options{Servers: c.Servers, Subject: c.Subject, Stream: c.Stream, Credentials: c.Credentials, TLS: c.tls(), Host: h})
	case "syslog":
		facility := syslog.DefaultFacility
		if c.Facility != nil {
			facility = *c.Facility
		}
		return syslog.New(syslog.Options{Address: c.Address, TLS: c.tls(), Plain: c.Plain, Facility: facility, Host: h})
	}
	return file.New(file.Options{Path: c.Path, MaxBytes: c.MaxBytes, MaxAge: c.MaxAge, Keep: c.Keep, Out: out})
}

// run lets all of them run until each has delivered what its log had when that
// was closed, or ctx ends.
func (w *ways) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, r := range w.runners {
		all.Go(func() { r.Run(ctx) })
	}
	all.Wait()
}

// close ends the memories; a spool is closed by its owner.
func (w *ways) close() {
	for _, m := range w.memories {
		m.Close()
	}
}

// trouble keeps the condition: one for all ways out, with the text for each
// that fails.
func (w *ways) trouble(ag *agent, name string, err error) {
	w.told.Lock()
	defer w.told.Unlock()
	w.mu.Lock()
	_, before := w.failing[name]
	if err != nil {
		w.failing[name] = err.Error()
	} else {
		delete(w.failing, name)
	}
	var text []string
	for _, n := range slices.Sorted(maps.Keys(w.failing)) {
		text = append(text, n+": "+w.failing[n])
	}
	w.mu.Unlock()
	switch {
	case err != nil:
		if !before {
			w.log.Warn("way out does not take events; they wait", "sink", name, "error", err)
		}
		ag.Raise(enforcer.CondSinkFailing, strings.Join(text, "; "))
	case before && len(text) == 0:
		ag.Clear(enforcer.CondSinkFailing)
	case before:
		ag.Raise(enforcer.CondSinkFailing, strings.Join(text, "; "))
	}
}

// counters are for status: sink_NAME_WHAT.
func (w *ways) counters(into map[string]uint64) {
	if w == nil { // before it is wired
		return
	}
	for _, r := range w.runners {
		s := r.Stats()
		for what, n := range map[string]uint64{
			"events": s.Events, "records": s.Records, "retried": s.Retried, "rejected": s.Rejected, "lost": s.Lost, "failures": s.Failures, "lag": s.Lag,
		} {
			into["sink_"+r.Name()+"_"+what] = n
		}
	}
}

// thisHost says where we are.
func thisHost(cluster, version string) sink.Host {
	h := sink.Host{Cluster: cluster, Version: version}
	h.Name, _ = os.Hostname() // without one the formats say that it is unknown
	if b, err := os.ReadFile("/etc/machine-id"); err == nil {
		h.ID = strings.TrimSpace(string(b))
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		h.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		h.Virtual = slices.Contains(strings.Fields(string(b)), "hypervisor")
	}
	return h
}

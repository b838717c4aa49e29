package server

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// Canary is the last act of the agent's own that was to come through kernel,
// ring, decision, spool and stream.
type Canary struct {
	Every    time.Duration `json:"every_ns"`
	Within   time.Duration `json:"within_ns"`
	Time     time.Time     `json:"time"`        // of the last round; zero: there was none yet
	Stage    string        `json:"stage"`       // done; or the first that was not passed: act, kernel, subscribe, stream
	Seen     time.Duration `json:"seen_ns"`     // from the act to its decision
	Streamed time.Duration `json:"streamed_ns"` // from the act to a client of the stream
	Error    string        `json:"error,omitempty"`
}

// Ring is the buffer between the kernel's programs and the agent.
type Ring struct {
	Used uint64 `json:"used_bytes"` // waits to be read
	Size uint64 `json:"size_bytes"`
}

// SpoolState is what is kept on disk, and who reads it.
type SpoolState struct {
	Dir       string     `json:"dir"`
	Bytes     uint64     `json:"bytes"`
	MaxBytes  uint64     `json:"max_bytes"`
	Segments  uint32     `json:"segments"` // files
	Oldest    time.Time  `json:"oldest"`   // no event that is kept is older; zero: not known
	Consumers []Consumer `json:"consumers"`
}

// Consumer is a named place in the stream.
type Consumer struct {
	Name    string `json:"name"`
	Run     string `json:"run_id"` // with Seq: what it has acknowledged; "" if nothing
	Seq     uint64 `json:"seq"`
	Behind  uint64 `json:"behind"`            // events after that
	Unknown bool   `json:"unknown,omitempty"` // its place is damaged, or of a run that is not remembered
}

// encodeVitals puts the signs of life into a status.
func encodeVitals(out *bailiffv1.StatusResponse, s *Status) {
	out.Ring = &bailiffv1.Ring{Used: s.Ring.Used, Size: s.Ring.Size}
	if c := s.Canary; c != nil {
		out.Canary = &bailiffv1.Canary{
			Every: durationpb.New(c.Every), Within: durationpb.New(c.Within), Time: stamp(c.Time), Stage: c.Stage,
			Seen: durationpb.New(c.Seen), Streamed: durationpb.New(c.Streamed), Error: utf8Of(c.Error),
		}
	}
	if p := s.Spool; p != nil {
		out.Spool = &bailiffv1.SpoolState{Dir: utf8Of(p.Dir), Bytes: p.Bytes, MaxBytes: p.MaxBytes, Segments: p.Segments, Oldest: stamp(p.Oldest)}
		for _, c := range p.Consumers {
			w := &bailiffv1.Consumer{Name: utf8Of(c.Name), Behind: c.Behind, Unknown: c.Unknown}
			if c.Run != "" {
				w.Acknowledged = &bailiffv1.Cursor{RunId: utf8Of(c.Run), Seq: c.Seq}
			}
			out.Spool.Consumers = append(out.Spool.Consumers, w)
		}
	}
}

// decodeVitals is the inverse.
func decodeVitals(s *Status, p *bailiffv1.StatusResponse) {
	s.Ring = Ring{Used: p.GetRing().GetUsed(), Size: p.GetRing().GetSize()}
	if c := p.GetCanary(); c != nil {
		s.Canary = &Canary{
			Every: c.GetEvery().AsDuration(), Within: c.GetWithin().AsDuration(), Time: unstamp(c.GetTime()), Stage: c.GetStage(),
			Seen: c.GetSeen().AsDuration(), Streamed: c.GetStreamed().AsDuration(), Error: c.GetError(),
		}
	}
	if w := p.GetSpool(); w != nil {
		s.Spool = &SpoolState{
			Dir: w.GetDir(), Bytes: w.GetBytes(), MaxBytes: w.GetMaxBytes(), Segments: w.GetSegments(), Oldest: unstamp(w.GetOldest()), Consumers: []Consumer{},
		}
		for _, c := range w.GetConsumers() {
			s.Spool.Consumers = append(s.Spool.Consumers, Consumer{
				Name: c.GetName(), Run: c.GetAcknowledged().GetRunId(), Seq: c.GetAcknowledged().GetSeq(), Behind: c.GetBehind(), Unknown: c.GetUnknown(),
			})
		}
	}
}

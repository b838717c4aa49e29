package recorded

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
)

// ErrNotRecording says that the first line is not what an agent tells.
var ErrNotRecording = errors.New("this is no recording: lines as `bailiff events -o json` writes them are expected")

// maxLine bounds one line: an event has at most 1 MiB on the wire.
const maxLine = 16 << 20

// jsonRecord is any line of `bailiff events -o json`.
type jsonRecord struct {
	event.Event
	Escaped []string `json:"escaped"`
	Start   *struct {
		BootID string `json:"boot_id"`
		RunID  string `json:"run_id"`
	} `json:"start"`
	Gap *struct {
		Count    uint64 `json:"count"`
		FirstSeq uint64 `json:"first_seq"`
		LastSeq  uint64 `json:"last_seq"`
		Reason   string `json:"reason"`
		RunID    string `json:"run_id"`
		AtLeast  bool   `json:"at_least"`
	} `json:"gap"`
}

// Lines gives the records of JSON lines, plain or compressed with gzip. A first
// line that is none is ErrNotRecording; a later one that cannot be read is a
// gap of one event.
func Lines(ctx context.Context, r io.Reader, yield func(Record) error) error {
	in := bufio.NewReaderSize(r, 1<<16)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("open gzip: %w", err)
		}
		in = bufio.NewReaderSize(z, 1<<16)
	}
	s := bufio.NewScanner(in)
	s.Buffer(make([]byte, 0, 1<<16), maxLine)
	var run event.Run
	for n := 1; s.Scan(); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		rec, err := ParseLine(s.Bytes())
		switch {
		case err != nil && n == 1:
			return fmt.Errorf("line 1: %w (%w)", ErrNotRecording, err)
		case err != nil:
			rec = Record{Gap: &Gap{Count: 1, Reason: event.LossDamaged.String()}}
		case rec.Event == nil && rec.Gap == nil: // a start
			run = rec.Run
			continue
		}
		if rec.Run.ID == "" {
			rec.Run = run
		}
		if err := yield(rec); err != nil {
			return ended(err)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read lines: %w", err)
	}
	return nil
}

// ParseLine turns one line into a record; a start has neither event nor gap.
func ParseLine(line []byte) (Record, error) {
	var j jsonRecord
	if err := json.Unmarshal(line, &j); err != nil {
		return Record{}, fmt.Errorf("decode line: %w", err)
	}
	switch {
	case j.Start != nil:
		return Record{Run: event.Run{ID: j.Start.RunID, Boot: j.Start.BootID}}, nil
	case j.Gap != nil:
		return Record{Run: event.Run{ID: j.Gap.RunID}, Gap: &Gap{
			First: j.Gap.FirstSeq, Last: j.Gap.LastSeq, Count: j.Gap.Count, Reason: j.Gap.Reason, AtLeast: j.Gap.AtLeast,
		}}, nil
	case j.Hook == event.HookNone && j.Agent == nil:
		return Record{}, errors.New("decode line: it has neither a hook nor a notice")
	}
	e := &j.Event
	if len(j.Escaped) > 0 {
		// The text is as it was sent; the wire's own way back undoes it.
		p := server.Encode(e)
		p.Escaped = j.Escaped
		e = server.Decode(p)
	}
	return Record{Event: e}, nil
}

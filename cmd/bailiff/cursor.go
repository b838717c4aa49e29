package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// saveEvery is how often the place is kept while events come: a client that is
// killed gets the events of that time once more.
const saveEvery = 250 * time.Millisecond

// cursor is the content of a cursor file: everything up to this event was
// printed.
type cursor struct {
	RunID string `json:"run_id"`
	Seq   uint64 `json:"seq"`
}

// place adds to a request where to go on.
func (f *eventsFlags) place(r *bailiffv1.EventsRequest) error {
	n := 0
	for _, given := range []bool{f.cursorFile != "", f.consumer != "", f.replay} {
		if given {
			n++
		}
	}
	switch {
	case n > 1:
		return usageError{errors.New("only one of --cursor-file, --consumer and --replay can say where to begin")}
	case f.consumer != "":
		r.Consumer = f.consumer
	case f.replay:
		r.After = &bailiffv1.Cursor{}
	case f.cursorFile != "":
		c, err := readCursor(f.cursorFile)
		if err != nil {
			return err
		}
		r.After = &bailiffv1.Cursor{RunId: c.RunID, Seq: c.Seq}
	}
	return nil
}

func readCursor(path string) (c cursor, err error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read cursor: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil || c.RunID == "" {
		return c, &userError{Code: "cursor", File: path, Why: "this is no cursor file", Hint: "remove it to begin with the oldest event that the agent keeps"}
	}
	return c, nil
}

// writeCursor replaces the file: after a crash there is the old or the new one.
func writeCursor(path string, c cursor) error {
	b, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".cursor-*")
	if err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	defer os.Remove(f.Name()) // of no effect once it has its name
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write cursor: %w", err)
	}
	return nil
}

// place is where a client is in the stream, and where it said to be.
type place struct {
	flags  *eventsFlags
	client bailiffv1.EventServiceClient
	run    string // of the last Start
	now    cursor
	saved  cursor
	when   time.Time
}

// pass notes a record that was printed.
func (p *place) pass(r *bailiffv1.Record) {
	switch {
	case r.GetStart() != nil:
		p.run = r.GetStart().GetRunId()
	case r.GetEvent() != nil:
		p.now = cursor{p.run, r.GetEvent().GetSeq()}
	case r.GetGap().GetCount() > 0 && r.GetGap().GetRunId() != "":
		p.now = cursor{r.GetGap().GetRunId(), r.GetGap().GetLastSeq()}
	}
}

// save keeps the place, if it is time or the end. Everything up to there must
// have left this process.
func (p *place) save(ctx context.Context, ending bool) error {
	if p.now == p.saved || !ending && time.Since(p.when) < saveEvery {
		return nil
	}
	if p.flags.cursorFile != "" {
		if err := writeCursor(p.flags.cursorFile, p.now); err != nil {
			return err
		}
	}
	if p.flags.consumer != "" {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := p.client.Acknowledge(ctx, &bailiffv1.AcknowledgeRequest{
			Consumer: p.flags.consumer, Through: &bailiffv1.Cursor{RunId: p.now.RunID, Seq: p.now.Seq},
		})
		if err != nil && !ending { // at the end the agent may be gone: what is not acknowledged comes again
			return fmt.Errorf("acknowledge events: %w", err)
		}
	}
	p.saved, p.when = p.now, time.Now()
	return nil
}

// Package recorded reads back what an agent has told: events and gaps, out of
// a spool directory, a file of JSON lines as `bailiff events -o json` writes
// them, or the stream of a running agent. What it gives is what was recorded:
// Limits says where that is less than the act was.
package recorded

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/proto"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/spool"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// Record is an event, or a gap where events were lost.
type Record struct {
	Run   event.Run // whose event it is; empty if the recording does not say
	Event *event.Event
	Gap   *Gap // nil: Event is set
}

// Gap stands for events that the recording does not have.
type Gap struct {
	First, Last uint64 // sequence numbers; meaningless when Count is 0
	Count       uint64
	Reason      string // as in docs/events.md
	AtLeast     bool   // there may be more
}

// ErrEnough, returned by a yield function, ends the reading without an error.
var ErrEnough = errors.New("enough")

// Read gives the records of a directory (a spool), of a file, or for "-" of
// stdin, in order.
func Read(ctx context.Context, path string, stdin io.Reader, yield func(Record) error) error {
	if path == "-" {
		return Lines(ctx, stdin, yield)
	}
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("open recording: %w", err)
	}
	if info.IsDir() {
		return Spool(ctx, path, yield)
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open recording: %w", err)
	}
	defer f.Close()
	if err := Lines(ctx, f, yield); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Spool gives the records of a spool directory, which may be in use by an
// agent: then up to what it has on disk by now.
func Spool(ctx context.Context, dir string, yield func(Record) error) error {
	err := spool.Read(ctx, dir, func(ks []event.Kept) error {
		for _, k := range ks {
			r, err := ofKept(k)
			if err == nil {
				err = yield(r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return ended(err)
}

func ofKept(k event.Kept) (Record, error) {
	if g := k.Gap; g != nil {
		return Record{Run: k.Run, Gap: &Gap{First: g.First, Last: g.Last, Count: g.Count, Reason: g.Reason.String(), AtLeast: g.AtLeast}}, nil
	}
	p := &bailiffv1.Event{}
	if err := proto.Unmarshal(k.Data, p); err != nil {
		return Record{}, fmt.Errorf("decode event %d of run %s: %w", k.Seq, k.Run.ID, err)
	}
	return Record{Run: k.Run, Event: server.Decode(p)}, nil
}

// Receiver is a subscription to a running agent.
type Receiver interface {
	Recv() (*bailiffv1.EventsResponse, error)
}

// Stream gives the records of a subscription up to and with a position, or
// until it ends.
func Stream(r Receiver, through event.Position, yield func(Record) error) error {
	var run event.Run
	for {
		m, err := r.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, p := range m.GetRecords() {
			if s := p.GetStart(); s != nil {
				run = event.Run{ID: s.GetRunId(), Boot: s.GetBootId()}
				continue
			}
			rec, last := ofWire(p, run)
			if rec.Event == nil && rec.Gap == nil {
				continue // of a newer agent
			}
			if err := yield(rec); err != nil {
				return ended(err)
			}
			if rec.Run.ID == through.Run && last >= through.Seq {
				return nil
			}
		}
	}
}

func ofWire(p *bailiffv1.Record, run event.Run) (r Record, last uint64) {
	r.Run = run
	if g := p.GetGap(); g != nil {
		if id := g.GetRunId(); id != "" && id != run.ID {
			r.Run = event.Run{ID: id}
		}
		r.Gap = &Gap{First: g.GetFirstSeq(), Last: g.GetLastSeq(), Count: g.GetCount(), Reason: server.GapReason(g.GetReason()), AtLeast: g.GetAtLeast()}
		return r, r.Gap.Last
	}
	if e := p.GetEvent(); e != nil {
		r.Event = server.Decode(e)
		return r, e.GetSeq()
	}
	return r, 0
}

func ended(err error) error {
	if errors.Is(err, ErrEnough) {
		return nil
	}
	return err
}

// Limits says, for a judged act, where the record holds less of the input
// document than the rules saw, or than there was: an answer that rests on it is
// not sure.
func Limits(e *event.Event) []string {
	var out []string
	if e.File != nil && e.File.Unresolved {
		out = append(out, "file.path is not known whole")
	}
	if x := e.Exec; x != nil {
		if x.ArgsCut {
			out = append(out, "args are cut")
		}
		if x.EnvCut {
			out = append(out, "env is cut")
		}
		if len(x.EnvAgain) > 0 {
			out = append(out, "env holds a name more than once")
		}
	}
	for _, field := range e.Redacted {
		out = append(out, field+" has something hidden in it")
	}
	if e.Hook == event.HookExec && e.Exec == nil {
		out = append(out, "args, env, cwd and script are not known: the exec was refused or did not come to its end")
	}
	return out
}

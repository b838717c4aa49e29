// Package sink carries events out of the agent by other ways than its own gRPC
// stream: each way out is a named reader of the durable log with a place of its
// own in it, which moves when the receiver has what came before. So a receiver
// may be away for as long as the log lasts, nothing is lost by a restart of
// either side, and no way out slows another one or a verdict.
package sink

import (
	"context"
	"fmt"
	"time"

	"example.com/bailiff/internal/event"
)

// Log is what a way out reads from. *spool.Log is the durable one, Memory the
// one for agents that keep no spool.
type Log interface {
	// Follow gives what comes after a position, past and future, in order,
	// until ctx ends or the log was closed and read to its end (nil).
	Follow(ctx context.Context, after event.Position, yield func([]event.Kept) error) error
	// Acknowledged returns the place of a consumer; zero if it has none.
	Acknowledged(consumer string) (event.Position, error)
	// Acknowledge stores it; durable logs do so before they return.
	Acknowledge(consumer string, through event.Position) error
	// Behind is how many events stand behind a position.
	Behind(p event.Position) uint64
}

// Item is one thing that the log gave: an event, or a gap where events are
// missing.
type Item struct {
	Run   event.Run
	Seq   uint64         // of the event
	Time  time.Time      // of the event; of a gap that of the event before it
	Event *event.Event   // nil for a gap
	Gap   *event.KeptGap // nil for an event
	Why   string         // of a gap whose reason is none of a log's; "": Gap.Reason
}

// Reason is why the events of a gap are missing.
func (it *Item) Reason() string {
	if it.Why != "" {
		return it.Why
	}
	return it.Gap.Reason.String()
}

// Kinds of items that are no act.
const (
	KindAgent = "agent" // a record about the agent
	KindGap   = "gap"
)

// ID names the item for ever: boot, run and number. Who gets it twice can tell
// by it.
func (it *Item) ID() string {
	if g := it.Gap; g != nil {
		return fmt.Sprintf("%s/%s/gap-%s-%d-%d", it.Run.Boot, it.Run.ID, it.Reason(), g.First, g.Last)
	}
	return fmt.Sprintf("%s/%s/%d", it.Run.Boot, it.Run.ID, it.Seq)
}

// Kind is the hook's name, KindAgent or KindGap.
func (it *Item) Kind() string {
	switch {
	case it.Gap != nil:
		return KindGap
	case it.Event.Agent != nil:
		return KindAgent
	}
	return it.Event.Hook.String()
}

// Verdict is the verdict's name; a deny that did not block is would-deny.
func (it *Item) Verdict() string {
	switch {
	case it.Gap != nil:
		return event.VerdictNone.String()
	case it.Event.Decision.WouldDeny():
		return "would-deny"
	}
	return it.Event.Decision.Verdict.String()
}

// Name says what happened in one word: a notice's code, else the kind.
func (it *Item) Name() string {
	if it.Gap == nil && it.Event.Agent != nil {
		return it.Event.Agent.Code
	}
	return it.Kind()
}

// Finding reports whether somebody should look at it: alert, deny, an act that
// passed unjudged or in dispute, and whatever the agent has to say about itself.
func (it *Item) Finding() bool {
	if it.Gap != nil || it.Event.Agent != nil {
		return true
	}
	d := &it.Event.Decision
	return d.Verdict >= event.VerdictAlert || d.Undecided || d.FailOpen != "" || d.Divergence
}

// Record is an item in the form in which it leaves.
type Record struct {
	ID       string // Item.ID, with a suffix where one item makes several records
	Severity Severity
	Body     []byte // one line of printable UTF-8, without the line's end
	Item     *Item
}

// Mapper turns items into records of one format. It is used by one goroutine.
// What it appends may share memory until the next call.
type Mapper interface {
	Map(dst []Record, it *Item) []Record
}

// Sender brings records to one receiver. Its methods are called by one
// goroutine. After an error it must be ready to begin anew: what was not
// confirmed is sent again.
type Sender interface {
	// Send takes records, in order; on their way is enough. It returns how many
	// of them the receiver will never take, whoever sends them: those are lost.
	Send(ctx context.Context, records []Record) (rejected int, err error)
	// Confirm returns when everything that was sent is with the receiver, or an
	// error if that is not certain. It also returns late rejections.
	Confirm(ctx context.Context) (rejected int, err error)
	// Close gives back what the sender holds.
	Close() error
}

// Host says where events come from, for formats that carry that.
type Host struct {
	Name    string // host name
	ID      string // machine id, "" if there is none
	Cluster string // name that the operator gave, "" if none
	Kernel  string // release
	Version string // of the agent
	Virtual bool   // the machine is a virtual one
}

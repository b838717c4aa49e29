package sink

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/internal/event"
)

// consumerPrefix keeps the places of ways out apart from those of clients.
const consumerPrefix = "sink."

// Options is what a Runner is made of. All up to Sender are required.
type Options struct {
	Name   string                             // of the way out; its place in the log goes by it
	From   Log                                // what it reads
	Decode func([]byte) (*event.Event, error) // the form in which the log keeps events
	Mapper Mapper
	Sender Sender
	Log    hclog.Logger

	// FindingsOnly leaves out what nobody has to look at (Item.Finding).
	FindingsOnly bool

	BatchBytes     int           // records are sent when they make so many bytes; default 512 KiB
	ConfirmEvery   time.Duration // how long records may be on their way; default 1 s
	ConfirmRecords int           // and how many; default 4096
	RetryMin       time.Duration // wait after the first failure in a row; default 100 ms
	RetryMax       time.Duration // and at most; default 15 s

	// Trouble is told when the receiver does not take records, at each try, and
	// with nil when it does again.
	Trouble func(error)
}

// Runner moves items from a log to one receiver.
type Runner struct {
	o        Options
	consumer string
	place    *event.Position // confirmed in this process; nil before the first pass
	counts   counts
}

// NewRunner makes a runner; Run lets it run.
func NewRunner(o Options) *Runner {
	def(&o.BatchBytes, 512<<10)
	def(&o.ConfirmEvery, time.Second)
	def(&o.ConfirmRecords, 4096)
	def(&o.RetryMin, 100*time.Millisecond)
	def(&o.RetryMax, 15*time.Second)
	if o.Trouble == nil {
		o.Trouble = func(error) {}
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	return &Runner{o: o, consumer: consumerPrefix + o.Name}
}

func def[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Name is the name of the way out.
func (r *Runner) Name() string { return r.o.Name }

// Run moves items until the log is closed and all of it was delivered, or ctx
// ends. It tries again for as long as it takes.
func (r *Runner) Run(ctx context.Context) {
	wait := r.o.RetryMin
	for ctx.Err() == nil {
		p := &pass{Runner: r}
		err := p.run(ctx)
		if err == nil {
			break
		}
		if ctx.Err() != nil {
			break
		}
		r.counts.failed(err, uint64(p.sent))
		r.o.Trouble(err)
		if p.confirmed {
			wait = r.o.RetryMin
		}
		select {
		case <-time.After(wait/2 + rand.N(wait)):
		case <-ctx.Done():
		}
		wait = min(2*wait, r.o.RetryMax)
	}
	if err := r.o.Sender.Close(); err != nil {
		r.o.Log.Debug("way out did not close", "sink", r.o.Name, "error", err)
	}
}

// pass is one reading of the log, from the confirmed place until something
// fails.
type pass struct {
	*Runner
	batch  []Record
	bytes  int
	place  event.Position // of the newest item that was taken
	placed bool           // place is behind what was acknowledged
	newest time.Time      // of the newest event that was taken

	sent      int // records since the last confirmation
	items     int // and the items that they were made of
	rejected  int // of those records
	confirmed bool
}

// run reads and sends. One goroutine reads; this one does all the rest, so that
// records are confirmed when their time has come though nothing new happens.
func (p *pass) run(ctx context.Context) error {
	if p.Runner.place == nil {
		from, err := p.o.From.Acknowledged(p.consumer)
		if err != nil {
			// Its file is damaged: everything that is kept goes out once more.
			p.o.Log.Warn("place of a way out is lost, it begins with the oldest event", "sink", p.o.Name, "error", err)
			from = event.Position{}
		}
		p.Runner.place = &from
		p.counts.at(from)
	}
	from := *p.Runner.place
	ctx, stop := context.WithCancel(ctx)
	batches, taken, ended := make(chan []event.Kept), make(chan error), make(chan error, 1)
	defer func() {
		stop()
		for range batches { // the reader gives up at its next word
			taken <- context.Canceled
		}
	}()
	go func() {
		defer close(batches)
		ended <- p.o.From.Follow(ctx, from, func(ks []event.Kept) error {
			select {
			case batches <- ks:
				return <-taken // ks is the log's again when this returns
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	tick := time.NewTicker(p.o.ConfirmEvery)
	defer tick.Stop()
	for {
		select {
		case ks, ok := <-batches:
			if !ok {
				if err := <-ended; err != nil {
					return fmt.Errorf("read events: %w", err)
				}
				return p.confirm(ctx)
			}
			err := p.take(ctx, ks)
			taken <- err
			if err != nil {
				return err
			}
		case <-tick.C:
			if err := p.confirm(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take maps and sends what the log gave. Nothing of ks is kept.
func (p *pass) take(ctx context.Context, ks []event.Kept) error {
	for i := range ks {
		it := p.item(&ks[i])
		if it.Gap != nil {
			p.counts.lose(it.Gap)
			if it.Gap.Count > 0 {
				p.place, p.placed = event.Position{Run: it.Run.ID, Seq: it.Gap.Last}, true
			}
		} else {
			p.place, p.placed = event.Position{Run: it.Run.ID, Seq: it.Seq}, true
			p.newest = it.Event.Time
		}
		if p.o.FindingsOnly && !it.Finding() {
			continue
		}
		n := len(p.batch)
		p.batch = p.o.Mapper.Map(p.batch, it)
		for _, r := range p.batch[n:] {
			p.bytes += len(r.Body)
		}
		p.items++
		if p.bytes >= p.o.BatchBytes {
			if err := p.send(ctx); err != nil {
				return err
			}
		}
	}
	if err := p.send(ctx); err != nil {
		return err
	}
	if p.sent >= p.o.ConfirmRecords {
		return p.confirm(ctx)
	}
	return nil
}

// item decodes; what cannot be decoded is a gap of one.
func (p *pass) item(k *event.Kept) *Item {
	it := &Item{Run: k.Run, Seq: k.Seq, Gap: k.Gap}
	// A gap has no time of its own, and no receiver takes a record without one.
	it.Time = p.newest
	if it.Time.IsZero() {
		it.Time = time.Now()
	}
	if k.Gap != nil {
		return it
	}
	e, err := p.o.Decode(k.Data)
	if err != nil {
		it.Gap = &event.KeptGap{First: k.Seq, Last: k.Seq, Count: 1, Reason: event.LossDamaged}
		return it
	}
	it.Event, it.Time = e, e.Time
	return it
}

func (p *pass) send(ctx context.Context) error {
	if len(p.batch) == 0 {
		return nil
	}
	rejected, err := p.o.Sender.Send(ctx, p.batch)
	if err != nil {
		p.sent += len(p.batch)
		return err
	}
	p.sent += len(p.batch)
	p.rejected += rejected
	clear(p.batch)
	p.batch, p.bytes = p.batch[:0], 0
	return nil
}

// confirm makes certain that the receiver has everything, and moves the place.
func (p *pass) confirm(ctx context.Context) error {
	if !p.placed {
		return nil
	}
	if p.sent > 0 {
		n, err := p.o.Sender.Confirm(ctx)
		if err != nil {
			return err
		}
		p.rejected += n
	}
	*p.Runner.place = p.place
	// A place that cannot be stored is no reason to send all of it again: after
	// a restart some of it comes twice.
	if err := p.o.From.Acknowledge(p.consumer, p.place); err != nil {
		p.o.Trouble(fmt.Errorf("keep place: %w", err))
	} else if p.sent > 0 || !p.confirmed {
		p.o.Trouble(nil)
	}
	p.counts.confirm(p.place, p.newest, uint64(p.items), uint64(p.sent-p.rejected), uint64(p.rejected))
	if p.rejected > 0 {
		p.o.Log.Warn("receiver refuses records for good", "sink", p.o.Name, "records", p.rejected)
	}
	p.sent, p.items, p.rejected, p.placed, p.confirmed = 0, 0, 0, false, true
	return nil
}

package decisionlog

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/internal/event"
)

// Options is what a Log is made of. Run, Input and one of File and URL are
// required.
type Options struct {
	Run     event.Run // whose decisions they are
	Version string    // of the agent, a label
	Labels  map[string]string
	Bundle  string // name of the bundle in the log; default "bailiff"
	// Input makes the input document that the rules read, as JSON.
	Input    func(*event.Event) ([]byte, error)
	Verdicts []event.Verdict // what is logged; default alert and deny
	Mask     []string        // see docs/operating.md

	File     string // "": none
	MaxBytes int64  // of the file, after which another one is begun; default 100 MiB
	Keep     int    // full files that stay; default 5

	URL        string // of the service; "": none
	Client     *http.Client
	Token      func() (string, error) // bearer token; nil: none
	ChunkBytes int                    // of one post before compression; default 256 KiB
	MaxDelay   time.Duration          // how long a decision may wait to be posted; default 5 s
	RetryMax   time.Duration          // longest wait after failures; default 30 s

	Queue int              // decisions that wait; default 8192
	Now   func() time.Time // default time.Now
	// Trouble is told when decisions cannot be written, and with nil when they
	// are again.
	Trouble func(error)
	Log     hclog.Logger
}

// Log is a sink of events. Run writes what Emit has queued.
type Log struct {
	o     Options
	enc   *encoder
	queue chan *event.Event
	gone  chan struct{} // closed by Close
	end   sync.Once

	written, posted, droppedQueue, droppedWrite, droppedPost atomic.Uint64
	fileBad, postBad                                         atomic.Bool
}

// New makes a log; nothing is opened before Run.
func New(o Options) (*Log, error) {
	if o.Input == nil || o.File == "" && o.URL == "" {
		return nil, errors.New("make decision log: it needs an input document, and a file or a URL")
	}
	def(&o.Bundle, "bailiff")
	def(&o.MaxBytes, 100<<20)
	def(&o.Keep, 5)
	def(&o.ChunkBytes, 256<<10)
	def(&o.MaxDelay, 5*time.Second)
	def(&o.RetryMax, 30*time.Second)
	def(&o.Queue, 8192)
	if o.Verdicts == nil {
		o.Verdicts = []event.Verdict{event.VerdictAlert, event.VerdictDeny}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 30 * time.Second}
	}
	if o.Trouble == nil {
		o.Trouble = func(error) {}
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	l := &Log{o: o, queue: make(chan *event.Event, o.Queue), gone: make(chan struct{})}
	var err error
	l.enc, err = newEncoder(&l.o)
	return l, err
}

func def[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Emit queues a decision. It never waits: what does not fit is dropped and
// counted. The event must not change any more.
func (l *Log) Emit(e *event.Event) {
	if !l.enc.wanted(e) {
		return
	}
	select {
	case l.queue <- e:
	default:
		l.droppedQueue.Add(1)
	}
}

// Close says that nothing is emitted any more: Run ends when the queue is empty
// and what can be sent at once was sent.
func (l *Log) Close() { l.end.Do(func() { close(l.gone) }) }

// Counters returns what was counted, by name.
func (l *Log) Counters() map[string]uint64 {
	return map[string]uint64{
		"decision_log_written": l.written.Load(), "decision_log_posted": l.posted.Load(),
		"drop_decision_log_queue": l.droppedQueue.Load(), "drop_decision_log_write": l.droppedWrite.Load(),
		"drop_decision_log_post": l.droppedPost.Load(),
	}
}

// Run writes and posts until Close, or until the context ends.
func (l *Log) Run(ctx context.Context) {
	var f *file
	if l.o.File != "" {
		f = &file{path: l.o.File, max: l.o.MaxBytes, keep: l.o.Keep}
		defer f.close()
	}
	var p *poster
	if l.o.URL != "" {
		p = newPoster(ctx, l)
		defer p.finish()
	}
	for {
		select {
		case e := <-l.queue:
			l.handle(e, f, p)
		case <-l.gone:
			for {
				select {
				case e := <-l.queue:
					l.handle(e, f, p)
				default:
					return
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

func (l *Log) handle(e *event.Event, f *file, p *poster) {
	line, err := l.enc.line(e)
	if err != nil {
		l.droppedWrite.Add(1)
		l.o.Log.Error("a decision cannot be logged", "seq", e.Seq, "error", err)
		return
	}
	if f != nil {
		err := f.write(line)
		l.report(&l.fileBad, err)
		if err != nil {
			l.droppedWrite.Add(1)
		} else {
			l.written.Add(1)
		}
	}
	if p != nil {
		p.put(line)
	}
}

// report tells of trouble when it begins and when all of it is over.
func (l *Log) report(bad *atomic.Bool, err error) {
	was := bad.Swap(err != nil)
	switch {
	case err != nil && !was:
		l.o.Trouble(err)
	case err == nil && was && !l.fileBad.Load() && !l.postBad.Load():
		l.o.Trouble(nil)
	}
}

// Package canary makes the agent prove that it lives: at an interval it does an
// act of its own, an exec, and waits for the event of that act to come out of
// the decision and out of the stream. What it needs of kernel and stream comes
// in as functions.
package canary

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"example.com/bailiff/internal/event"
)

// Stage is how far an act came.
type Stage string

// The stages. What is named is the first that the act did not pass.
const (
	StageDone      Stage = "done"      // all of them
	StageAct       Stage = "act"       // the act could not be done: nothing is known
	StageKernel    Stage = "kernel"    // no event came through kernel, ring and decision
	StageSubscribe Stage = "subscribe" // the server took no subscription: the way out is not known
	StageStream    Stage = "stream"    // the event was decided, and did not come through spool and stream
)

// Result is one round.
type Result struct {
	At       time.Time     // when it began; zero: there was none yet
	Stage    Stage         // the first that was not passed
	Seen     time.Duration // from the act to the finished decision; 0: not seen
	Streamed time.Duration // from the act to the client of the stream; 0: did not come
	Err      error         // why it was not passed, where that is known
}

// OK reports whether all stages were passed.
func (r Result) OK() bool { return r.Stage == StageDone }

// Options is what a Canary is made of. All are required.
type Options struct {
	Every  time.Duration // from one round to the next
	Within time.Duration // bound of a round
	PID    int           // of this process, whose child does the act
	// Act executes a program with this word among its arguments, and waits
	// for it. An act that was refused is no error: it has an event too.
	Act func(ctx context.Context, word string) error
	// Follow reads the stream as a client does. It calls ready when the
	// subscription stands, and returns nil at the first event for which match
	// holds.
	Follow func(ctx context.Context, ready func(), match func(*event.Event) bool) error
	// Report is told of each round, by the goroutine of Run.
	Report func(Result)
}

// Canary does the rounds. It is a sink for events: that is where it sees what
// has been decided.
type Canary struct {
	Options
	round atomic.Pointer[round]

	mu   sync.Mutex
	last Result
}

// round is one act under way.
type round struct {
	word string
	from time.Time // no event of before can be its
	pid  int
	once sync.Once
	seen chan struct{} // closed when it was decided
	at   time.Time     // when it was; valid after seen
	act  time.Time     // when the kernel saw it; valid after seen
}

// New returns a canary that Run starts.
func New(o Options) *Canary { return &Canary{Options: o} }

// Last is the last round.
func (c *Canary) Last() Result {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// Emit looks whether a decided event is the one that is waited for. It never
// waits and keeps nothing.
func (c *Canary) Emit(e *event.Event) {
	r := c.round.Load()
	if r == nil || !r.match(e) {
		return
	}
	r.once.Do(func() {
		r.at, r.act = time.Now(), e.Time
		close(r.seen)
	})
}

// match: a refused exec has no arguments, but it too was done by our child.
func (r *round) match(e *event.Event) bool {
	if e.Hook != event.HookExec || int(e.Process.PPID) != r.pid || e.Time.Before(r.from) {
		return false
	}
	return e.Exec == nil || len(e.Exec.Args) == 0 || slices.Contains(e.Exec.Args, r.word)
}

// Run does a round at once and then at each interval, until the context ends.
func (c *Canary) Run(ctx context.Context) {
	tick := time.NewTicker(c.Every)
	defer tick.Stop()
	for {
		res := c.Round(ctx)
		if ctx.Err() != nil {
			return
		}
		c.mu.Lock()
		c.last = res
		c.mu.Unlock()
		c.Report(res)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// Round does one.
func (c *Canary) Round(ctx context.Context) Result {
	ctx, cancel := context.WithTimeout(ctx, c.Within)
	defer cancel()
	start := time.Now()
	// The kernel's clock and ours are set side by side once: a little apart.
	r := &round{word: rand.Text(), from: start.Add(-time.Second), pid: c.PID, seen: make(chan struct{})}
	c.round.Store(r)
	defer c.round.Store(nil)
	res := Result{At: start}

	// The subscription stands before the act: what comes is not missed.
	ready := make(chan struct{})
	var once sync.Once
	streamed := make(chan error, 1)
	var arrived time.Time
	go func() {
		err := c.Follow(ctx, func() { once.Do(func() { close(ready) }) }, r.match)
		arrived = time.Now()
		streamed <- err
	}()
	subscribed, ended := false, false
	var streamErr error
	select {
	case <-ready:
		subscribed = true
	case streamErr = <-streamed:
		ended = true
	case <-ctx.Done():
	}
	// The kernel is asked even if the stream does not answer.
	actCtx := ctx
	if ctx.Err() != nil {
		var stop context.CancelFunc
		actCtx, stop = context.WithTimeout(context.WithoutCancel(ctx), c.Within)
		defer stop()
	}
	actErr := c.Act(actCtx, r.word)
	select {
	case <-r.seen:
	case <-actCtx.Done():
	}
	if actCtx.Err() == nil {
		res.Seen = max(1, r.at.Sub(r.act))
	}
	if !ended {
		if !subscribed || res.Seen == 0 {
			cancel()
		}
		streamErr = <-streamed
	}
	if subscribed && streamErr == nil && res.Seen > 0 {
		res.Streamed = max(1, arrived.Sub(r.act))
	}
	switch {
	case res.Streamed > 0:
		res.Stage = StageDone
	case res.Seen == 0 && actErr != nil:
		res.Stage, res.Err = StageAct, actErr
	case res.Seen == 0:
		res.Stage = StageKernel
	case !subscribed:
		res.Stage, res.Err = StageSubscribe, streamErr
	default:
		res.Stage, res.Err = StageStream, streamErr
	}
	if errors.Is(res.Err, context.DeadlineExceeded) || errors.Is(res.Err, context.Canceled) {
		res.Err = nil
	}
	return res
}

package enforcer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"example.com/bailiff/internal/event"
)

// item is one place in the pipeline. t is nil when nothing is to be waited for.
type item struct {
	ev *event.Event
	t  *task
}

// Run tells the kernel the modes, installs the first policy and handles events
// until the context ends or the kernel side is closed (nil), or fails. Every
// goroutine that it starts has ended when it returns, but for evaluations that
// ignore their deadline. It may be called once.
func (e *Enforcer) Run(ctx context.Context) error {
	if !e.ran.CompareAndSwap(false, true) {
		return errors.New("run enforcer: it ran already")
	}
	if err := e.Kernel.SetModes(e.Modes()); err != nil {
		return fmt.Errorf("run enforcer: set mode: %w", err)
	}
	e.notice(NoticeStarted, "agent started in mode "+e.Mode().String(),
		map[string]string{"mode": e.Mode().String(), "backend": e.Backend})
	if err := e.SetPolicy(ctx, e.Policy); err != nil {
		return fmt.Errorf("run enforcer: %w", err)
	}
	close(e.ready)

	// Workers and emitter outlive ctx: what was read is judged and emitted.
	engine, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	stop := make(chan struct{})
	var workers, emitter, poller sync.WaitGroup
	for range e.Workers {
		workers.Go(func() { e.work(engine, stop) })
	}
	emitter.Go(e.emitInOrder)
	polling, stopPolling := context.WithCancel(ctx)
	defer stopPolling()
	poller.Go(func() { e.pollCounters(polling) })
	poller.Go(func() { e.stepDown(polling) })
	poller.Go(func() { e.surveyor(polling) })

	err := e.read(ctx)
	stopPolling()
	poller.Wait()
	close(e.order)
	emitter.Wait() // ends within the deadline of the last task
	close(stop)
	stopEngine()
	if !waitFor(&workers, e.Deadline) {
		e.log.Error("policy evaluations do not end", "deadline", e.Deadline.String())
	}
	e.overMu.Lock()
	e.over = true
	e.overMu.Unlock()
	e.pollOnce()
	e.settle()
	e.notice(NoticeStopped, "agent stopped", nil)
	return err
}

// Ready is closed when the first policy is in force and Run reads events.
func (e *Enforcer) Ready() <-chan struct{} { return e.ready }

// read moves events from the kernel into the pipeline.
func (e *Enforcer) read(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := e.readOne(ctx); err != nil {
			if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
				break
			}
			return endOfEvents(err)
		}
	}
	// The acts that were seen before the end are still in the ring. Without
	// hooks it comes to an end.
	all, giveUp := context.WithTimeout(context.WithoutCancel(ctx), 50*e.DrainFor)
	defer giveUp()
	if d, ok := e.Kernel.(Detacher); ok {
		if err := d.Detach(); err != nil {
			e.log.Error("cannot detach everything", "error", err)
		}
	}
	for {
		quiet, cancel := context.WithTimeout(all, e.DrainFor)
		err := e.readOne(quiet)
		over := quiet.Err() != nil
		cancel()
		switch {
		case over:
			return nil
		case err != nil:
			return endOfEvents(err)
		}
	}
}

func (e *Enforcer) readOne(ctx context.Context) error {
	ev, err := e.Kernel.Next(ctx)
	if err != nil {
		return err
	}
	e.counts.add(cntRead)
	now := e.Now()
	e.lag.Store(int64(now.Sub(ev.Time)))
	e.sums.complete(ev)
	e.tree.see(ev, now)
	e.order <- item{ev, e.plan(ev)}
	if len(e.order) >= e.behindAt {
		select {
		case e.hurry <- struct{}{}:
		default:
		}
	}
	return nil
}

func endOfEvents(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("read event: %w", err)
}

// emitInOrder is the emitter: it ends when the pipeline is closed and empty.
func (e *Enforcer) emitInOrder() {
	timer := time.NewTimer(time.Hour) // one for all waits
	timer.Stop()
	for it := range e.order {
		if it.t != nil {
			e.finish(it, timer)
		}
		e.steps.see(it.ev, e.Now())
		e.emit(it.ev)
	}
}

// waitFor waits for a group, at most so long; it reports whether it ended.
func waitFor(wg *sync.WaitGroup, d time.Duration) bool {
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	select {
	case <-ended:
		return true
	case <-time.After(d):
		return false
	}
}

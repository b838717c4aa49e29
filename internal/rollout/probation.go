package rollout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Change is a change on probation.
type Change struct {
	Key   string // a later change with the same key takes its place
	What  string // policy or mode
	Text  string
	By    string // who made it
	Since time.Time
	Until time.Time // when it goes back
}

// End is how a probation ended.
type End string

// The ends.
const (
	Confirmed  End = "confirmed"
	Reverted   End = "reverted"   // by the operator
	Expired    End = "expired"    // nobody confirmed in time: it went back by itself
	Superseded End = "superseded" // another change took its place
)

// ErrBusy says that a change is on probation already, ErrNone that none is.
var (
	ErrBusy = errors.New("a change is on probation already")
	ErrNone = errors.New("no change is on probation")
)

// Probation holds at most one change that goes back unless it is confirmed.
type Probation struct {
	// Ended is told of each end, with the error if going back failed. It is
	// called without locks.
	Ended func(c Change, how End, by string, err error)

	mu   sync.Mutex
	cur  *trial
	wake chan struct{}
}

type trial struct {
	Change
	keep func() error                // when it is confirmed
	back func(context.Context) error // when it goes back
}

// NewProbation makes one; Run makes changes go back.
func NewProbation(ended func(c Change, how End, by string, err error)) *Probation {
	return &Probation{Ended: ended, wake: make(chan struct{}, 1)}
}

// Begin puts a change on probation. keep is called when it is confirmed (nil:
// nothing is to be done), back when it goes back.
func (p *Probation) Begin(c Change, keep func() error, back func(context.Context) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur != nil {
		return ErrBusy
	}
	p.cur = &trial{c, keep, back}
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return nil
}

// Current returns the change that is on probation; ok is false if none is.
func (p *Probation) Current() (c Change, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cur == nil {
		return Change{}, false
	}
	return p.cur.Change, true
}

// take ends the probation for one caller: of two only one gets it. want is nil
// for whatever there is.
func (p *Probation) take(want *trial, due func(*trial) bool) *trial {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.cur
	if t == nil || want != nil && t != want || due != nil && !due(t) {
		return nil
	}
	p.cur = nil
	return t
}

// Confirm makes the change stay. If what that takes fails, the change is in
// force and the error says what is not.
func (p *Probation) Confirm(by string) (Change, error) {
	t := p.take(nil, nil)
	if t == nil {
		return Change{}, ErrNone
	}
	var err error
	if t.keep != nil {
		err = t.keep()
	}
	p.Ended(t.Change, Confirmed, by, err)
	return t.Change, err
}

// Revert makes the change go back now.
func (p *Probation) Revert(ctx context.Context, by string) (Change, error) {
	t := p.take(nil, nil)
	if t == nil {
		return Change{}, ErrNone
	}
	err := t.back(ctx)
	p.Ended(t.Change, Reverted, by, err)
	return t.Change, err
}

// Supersede ends the probation of a change with this key: another took its
// place.
func (p *Probation) Supersede(key, by string) {
	if t := p.take(nil, func(t *trial) bool { return t.Key == key }); t != nil {
		p.Ended(t.Change, Superseded, by, nil)
	}
}

// Run makes changes go back when their time is over, until the context ends. A
// change that is on probation then stays in force for as long as the agent
// does: the next one begins without it.
func (p *Probation) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		p.mu.Lock()
		t := p.cur
		p.mu.Unlock()
		timer.Stop()
		if t != nil {
			timer.Reset(time.Until(t.Until))
		}
		select {
		case <-ctx.Done():
			return
		case <-p.wake:
			continue
		case <-timer.C:
		}
		if t == nil || time.Now().Before(t.Until) {
			continue
		}
		if mine := p.take(t, nil); mine != nil {
			err := mine.back(ctx)
			if err != nil {
				err = fmt.Errorf("go back: %w", err)
			}
			p.Ended(mine.Change, Expired, mine.By, err)
		}
	}
}

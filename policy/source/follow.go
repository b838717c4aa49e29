package source

import (
	"context"
	"errors"
	"time"
)

// Follow asks for changes until the context ends, and returns then. apply is
// called, never twice at once, with each candidate, with an error when nothing
// usable came (ErrUnreachable, or why the bundle is refused; once while it
// stays the same), and with neither when all is as it was. It returns an error
// if the candidate did not come into force: it is then fetched again.
func (s *Source) Follow(ctx context.Context, apply func(context.Context, *Candidate, error) error) error {
	f := &follower{s: s, apply: apply}
	for ctx.Err() == nil {
		renew := make(chan renewal, 1)
		f.renew = renew
		c, err := s.connect(false, f.wantWhole, f.came)
		if err != nil {
			return err
		}
		c.SetCache(f.etag)
		c.Start(ctx)
		var next renewal
		select {
		case <-ctx.Done():
		case next = <-renew:
		}
		c.Stop(context.WithoutCancel(ctx))
		c.close()
		if next.after > 0 {
			timer := time.NewTimer(next.after)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
	}
	return nil
}

// ErrStillRefused says that the server answers, and still has the bundle that
// was refused.
var ErrStillRefused = errors.New("the bundle is still the one that was refused")

// renewal ends a connection, and says when the next one begins. A connection is
// never asked to forget its ETag: OPA's client goes on sending it.
type renewal struct{ after time.Duration }

type follower struct {
	s     *Source
	apply func(context.Context, *Candidate, error) error
	renew chan<- renewal

	etag    string // of what is in force
	whole   bool   // a delta failed: only a whole bundle helps
	failed  int    // attempts that failed, in a row
	refused string // what was last said about a bundle that is refused
}

func (f *follower) wantWhole() bool {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	return f.whole || len(f.s.archives) == 0
}

// came is called in the downloader's goroutine, one call after the other.
func (f *follower) came(ctx context.Context, a *arrival, etag string, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	defer f.s.loading(0)()
	delta := a != nil && a.archive.Delta
	var c *Candidate
	switch {
	case err != nil:
	case a == nil, f.s.same(a.archive):
		if a != nil {
			f.etag = etag
		}
		if a != nil || f.refused == "" {
			f.refused = ""
			return f.apply(ctx, nil, nil)
		}
		return f.apply(ctx, nil, ErrStillRefused)
	default:
		c, err = f.s.received(ctx, a.archive, a.raw, false)
	}
	if errors.Is(err, errWantWhole) {
		f.again(true, 0)
		return nil
	}
	err = f.s.placed(err)
	if err != nil && err.Error() == f.refused {
		if delta {
			f.again(true, f.s.o.Remote.MinDelay)
		}
		return nil
	}
	applied := f.apply(ctx, c, err)
	switch {
	case err == nil && applied == nil:
		f.etag, f.whole, f.failed, f.refused = etag, false, 0, ""
		return nil
	case err != nil && !errors.Is(err, ErrUnreachable):
		f.refused = err.Error()
	}
	switch {
	case delta:
		f.again(true, time.Duration(f.failed)*f.s.o.Remote.MinDelay)
	case err == nil:
		// It is good, but the kernel would not take it: that may pass.
		f.again(false, f.s.o.Remote.MinDelay)
	}
	return nil
}

// again ends the connection; the next one asks anew.
func (f *follower) again(whole bool, after time.Duration) {
	if whole {
		f.whole, f.etag = true, ""
	}
	f.failed++
	select {
	case f.renew <- renewal{after}:
	default: // it is ending already
	}
}

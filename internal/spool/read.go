package spool

import (
	"context"
	"errors"
	"fmt"

	"example.com/bailiff/internal/event"
)

// ErrNoSpool says that a directory holds none.
var ErrNoSpool = errors.New("no agent has kept events there")

// Read gives everything that a directory holds by now, in order, with gaps for
// what is missing. It changes nothing and takes no lock: an agent may be
// writing there. yield is as for Follow.
func Read(ctx context.Context, dir string, yield func([]event.Kept) error) error {
	segments, err := listSegments(dir)
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	runs := knownRuns(dir, segments)
	if len(runs) == 0 {
		return fmt.Errorf("read spool %s: %w", dir, ErrNoSpool)
	}
	l := &Log{ready: true, ended: true, runs: runs, segments: segments, changed: make(chan struct{})}
	return l.Follow(ctx, event.Position{}, yield)
}

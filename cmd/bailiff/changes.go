package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// changes are the reasons to read the bundle again: it has changed, or the
// operator says so by SIGHUP.
type changes struct {
	hup   chan os.Signal
	watch *watcher // nil: the rules are embedded
}

// noticeChanges begins to notice; follow acts on it.
func noticeChanges(bundle source) *changes {
	c := &changes{hup: make(chan os.Signal, 1)}
	signal.Notify(c.hup, unix.SIGHUP)
	if bundle == "" {
		return c
	}
	c.watch = newWatcher(string(bundle))
	return c
}

func (c *changes) close() {
	signal.Stop(c.hup)
}

// follow reads the bundle again at each change until the context ends.
func (c *changes) follow(ctx context.Context, ag *agent) {
	if c.watch != nil {
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			c.watch.run(ctx, func() { ag.reloadFor(ctx, "change of the bundle") })
		}()
		defer func() { <-watched }()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.hup:
			ag.reloadFor(ctx, "SIGHUP")
		}
	}
}

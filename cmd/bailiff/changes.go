package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	sources "example.com/bailiff/policy/source"
)

// changes are the reasons to read the bundle again: it has changed, or the
// operator says so by SIGHUP.
type changes struct {
	hup   chan os.Signal
	watch *watcher // nil: the rules are embedded, or come over a network
}

// noticeChanges begins to notice; follow acts on it.
func noticeChanges(from *sources.Source) *changes {
	c := &changes{hup: make(chan os.Signal, 1)}
	signal.Notify(c.hup, unix.SIGHUP)
	if from != nil && !from.Remote() {
		c.watch = newWatcher(from.Path())
	}
	return c
}

func (c *changes) close() {
	signal.Stop(c.hup)
}

// follow reads the bundle again at each change until the context ends. An error
// says that changes cannot be noticed.
func (c *changes) follow(ctx context.Context, ag *agent) (err error) {
	if ag.bundle.from != nil && ag.bundle.from.Remote() {
		fetched := make(chan error, 1)
		ctx, stop := context.WithCancel(ctx)
		go func() { defer stop(); fetched <- ag.followBundle(ctx) }()
		defer func() { err = <-fetched }()
		return c.signals(ctx, ag)
	}
	if c.watch != nil {
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			c.watch.run(ctx, func() { ag.reloadFor(ctx, "change of the bundle") })
		}()
		defer func() { <-watched }()
	}
	return c.signals(ctx, ag)
}

func (c *changes) signals(ctx context.Context, ag *agent) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-c.hup:
			ag.reloadFor(ctx, "SIGHUP")
		}
	}
}

package main

import (
	"context"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
)

// daemon is what systemd is told, if it started us with Type=notify. Where it
// does not listen nothing happens.
type daemon struct{}

// watchdog is how long systemd waits for a sign of life; 0: it does not.
func (daemon) watchdog() time.Duration {
	d, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		return 0
	}
	return d
}

func (daemon) ready() { _, _ = systemd.SdNotify(false, systemd.SdNotifyReady) }

func (daemon) stopping() { _, _ = systemd.SdNotify(false, systemd.SdNotifyStopping) }

func (daemon) status(text string) { _, _ = systemd.SdNotify(false, "STATUS="+visible(text)) }

// feed gives a sign of life three times in each period while there is life.
func (d daemon) feed(ctx context.Context, alive func() bool) {
	period := d.watchdog()
	if period <= 0 {
		return
	}
	tick := time.NewTicker(period / 3)
	defer tick.Stop()
	for {
		if alive() {
			_, _ = systemd.SdNotify(false, systemd.SdNotifyWatchdog)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

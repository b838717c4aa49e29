package main

import (
	"path/filepath"
	"strconv"
	"time"

	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/spool"
)

const (
	// spoolOff in place of a directory: nothing is kept.
	spoolOff = "off"
	// minSpool leaves room for a few files of a useful size.
	minSpool = 1 << 20
	// spoolGrace is how long the disk has to take what is left at the end.
	spoolGrace = 2 * time.Second
	// noticeSpoolLoss: the run before ended without writing all that it had
	// taken; fields lost, at_least, torn_bytes.
	noticeSpoolLoss = "spool-loss"
)

// openSpool starts to keep events, if that is asked for. Its troubles are
// conditions of the agent: they change no verdict. The result is closed by the
// caller, nil if there is no spool.
func openSpool(cfg *config, ag *agent, hub *server.Hub, left leftovers) (*spool.Log, error) {
	if cfg.Spool.Dir == spoolOff {
		return nil, nil
	}
	// What the spool has to say is an event too, and goes into the spool.
	wired := make(chan struct{})
	defer close(wired)
	l, err := spool.Open(spool.Options{
		Dir: cfg.Spool.Dir,
		// Beside the socket is a tmpfs: the page is of no use after a reboot.
		Head: filepath.Join(filepath.Dir(cfg.Socket), "spool.head"),
		Run:  event.Run{ID: ag.id.RunID, Boot: ag.id.BootID},
		Acts: left.of,

		MaxBytes: cfg.Spool.MaxBytes, MaxAge: cfg.Spool.MaxAge, MinFree: cfg.Spool.MinFree,
		Sync: spool.Sync(cfg.Spool.Sync), Compress: spool.Compression(cfg.Spool.Compress),
		Trouble: func(err error) {
			<-wired
			ag.spoolTrouble(err)
		},
		Opened: func(r event.SpoolReport) {
			<-wired
			ag.spoolOpened(cfg.Spool.Dir, r)
		},
	})
	if err != nil {
		return nil, &userError{Code: "spool", Why: err.Error(), Hint: "each agent needs a directory of its own: --spool DIR, or --spool off to keep nothing"}
	}
	hub.SetSpool(l)
	ag.kept = l
	return l, nil
}

func (a *agent) spoolTrouble(err error) {
	if err == nil {
		a.Clear(enforcer.CondSpoolFailing)
		return
	}
	a.Raise(enforcer.CondSpoolFailing, "events cannot be kept: "+err.Error())
}

func (a *agent) spoolOpened(dir string, r event.SpoolReport) {
	a.log.Info("spool opened", "dir", dir, "segments", r.Segments, "clean", r.Clean, "lost", r.Lost, "at_least", r.AtLeast,
		"torn_bytes", r.TornBytes, "took", r.Took.Round(time.Millisecond).String())
	if r.Lost == 0 && !r.AtLeast {
		return
	}
	a.Record(event.Notice{Code: noticeSpoolLoss, Text: "the agent died before it had written all events that it had taken",
		Fields: map[string]string{
			"lost": strconv.FormatUint(r.Lost, 10), "at_least": strconv.FormatBool(r.AtLeast), "torn_bytes": strconv.FormatInt(r.TornBytes, 10),
		}})
}

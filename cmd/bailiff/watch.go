package main

import (
	"context"
	"hash/fnv"
	"io/fs"
	"path/filepath"
	"strconv"
	"time"
)

// A bundle is rarely written by one call. It is read when two looks in a row
// saw the same, or when it has been changing for patience. The second look at an
// archive comes soon: of one that is half written nothing comes into force.
//
// It is looked at, not watched: an inotify watch would make every open on the
// same filesystem dearer, for all processes (docs/performance.md).
const (
	look     = 250 * time.Millisecond
	lookSoon = 100 * time.Millisecond
	patience = 2 * time.Second
)

// watcher tells when a bundle has changed.
type watcher struct {
	path string // absolute
	last uint64 // print of what was read
	file bool   // it was an archive at the last look
}

// newWatcher takes the bundle as it is now for known.
func newWatcher(path string) *watcher {
	w := &watcher{path: filepath.Clean(path)}
	w.last = w.print()
	return w
}

// print sums up names, sizes, times and inodes of all files of the bundle.
func (w *watcher) print() uint64 {
	root := w.path
	if real, err := filepath.EvalSymlinks(root); err == nil {
		root = real
	}
	h := fnv.New64a()
	h.Write([]byte(root))
	// What cannot be read is a state of its own; loading will say why.
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		h.Write([]byte(path))
		if path == root {
			w.file = err == nil && !d.IsDir()
		}
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && !d.IsDir() {
			h.Write(strconv.AppendInt(strconv.AppendInt(nil, info.Size(), 10), info.ModTime().UnixNano(), 36))
		}
		return nil
	})
	return h.Sum64()
}

// run calls changed after each change until the context ends, never twice at
// once.
func (w *watcher) run(ctx context.Context, changed func()) {
	wait := time.NewTimer(look)
	defer wait.Stop()
	before, since := w.last, time.Time{} // since: when it began to differ from what was read
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		now := w.print()
		switch {
		case now == w.last:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		if now != w.last && (now == before || time.Since(since) > patience) {
			w.last, since = now, time.Time{}
			changed()
		}
		before = now
		next := look
		if w.file && now != w.last {
			next = lookSoon
		}
		wait.Reset(next)
	}
}

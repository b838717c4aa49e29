package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/hashicorp/go-hclog"
)

// A bundle is rarely written by one call. It is read when nothing has changed
// for quiet, or when it has been changing for patience.
const (
	quiet    = 250 * time.Millisecond
	patience = 2 * time.Second
)

// watcher tells when a bundle has changed.
type watcher struct {
	path string // absolute
	log  hclog.Logger
	fs   *fsnotify.Watcher
}

// newWatcher watches the bundle, and the directory that holds it: bundles are
// replaced by renaming.
func newWatcher(path string, log hclog.Logger) (*watcher, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch bundle: %w", err)
	}
	out := &watcher{path: filepath.Clean(path), log: log, fs: w}
	if err := w.Add(filepath.Dir(out.path)); err != nil {
		w.Close()
		return nil, fmt.Errorf("watch bundle: %w", err)
	}
	out.addAll()
	return out, nil
}

// addAll watches each directory of the bundle. What is gone by the time it is
// looked at has made an event of its own.
func (w *watcher) addAll() {
	dir := w.path
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		return w.fs.Add(path)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.log.Warn("cannot watch the whole bundle, reload by hand when it changes", "path", w.path, "error", err)
	}
}

// run calls changed after each change until the context ends, never twice at
// once.
func (w *watcher) run(ctx context.Context, changed func()) {
	defer w.fs.Close()
	timer := time.NewTimer(0)
	<-timer.C
	var first time.Time // of the changes that are waited for; zero: none
	for {
		select {
		case <-ctx.Done():
			return
		case err, ok := <-w.fs.Errors:
			if !ok {
				return
			}
			// An overflow: something changed that was not told.
			w.log.Warn("watching the bundle failed, it is read again", "path", w.path, "error", err)
			timer.Reset(quiet)
		case e, ok := <-w.fs.Events:
			if !ok {
				return
			}
			if !w.concerns(e) {
				continue
			}
			now := time.Now()
			if first.IsZero() {
				first = now
			}
			timer.Reset(min(quiet, max(0, first.Add(patience).Sub(now))))
		case <-timer.C:
			first = time.Time{}
			w.addAll()
			changed()
		}
	}
}

// concerns reports whether an event is about the bundle: its directory may
// hold other things, and a change of mode or times is no change of rules.
func (w *watcher) concerns(e fsnotify.Event) bool {
	if e.Op == fsnotify.Chmod {
		return false
	}
	return filepath.Dir(w.path) != filepath.Dir(e.Name) || e.Name == w.path || strings.HasPrefix(e.Name, w.path+"/")
}

package bpf

import (
	"errors"
	"fmt"
	"os"
	"path"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// settle is how long changes are collected before paths are bound again.
const settle = 50 * time.Millisecond

// rebinder keeps the active generation tied to what its paths are now: a file
// that is replaced or appears, a directory that is made, a filesystem that is
// mounted. Until it has run, a replaced file is judged by its directory and
// name, which need no binding.
type rebinder struct {
	k     *Kernel
	names *fsnotify.Watcher
	stop  *os.File // closed to end the poll on the mount table
	kick  chan struct{}
	wg    sync.WaitGroup
}

func startRebinder(k *Kernel) (*rebinder, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch directories: %w", err)
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("watch mounts: %w", err)
	}
	r, stop, err := os.Pipe()
	if err != nil {
		w.Close()
		mounts.Close()
		return nil, fmt.Errorf("watch mounts: %w", err)
	}
	b := &rebinder{k: k, names: w, stop: stop, kick: make(chan struct{}, 1)}
	b.wg.Add(2)
	go b.watchMounts(mounts, r)
	go b.run()
	return b, nil
}

func (b *rebinder) close() {
	b.stop.Close()
	b.names.Close()
	b.wg.Wait()
}

// watchMounts kicks when the mount table changes, until stop is closed.
func (b *rebinder) watchMounts(mounts, stop *os.File) {
	defer b.wg.Done()
	defer mounts.Close()
	defer stop.Close()
	fds := []unix.PollFd{{Fd: int32(mounts.Fd()), Events: unix.POLLPRI}, {Fd: int32(stop.Fd()), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		if fds[0].Revents&(unix.POLLPRI|unix.POLLERR) != 0 {
			b.ask()
		}
	}
}

func (b *rebinder) ask() {
	select {
	case b.kick <- struct{}{}:
	default:
	}
}

// run binds again when something that a rule names has changed.
func (b *rebinder) run() {
	defer b.wg.Done()
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	for {
		select {
		case ev, ok := <-b.names.Events:
			if !ok {
				return
			}
			if g := b.k.active.Load(); g != nil && g.bound().watch[path.Dir(ev.Name)][path.Base(ev.Name)] {
				timer.Reset(settle)
			}
		case _, ok := <-b.names.Errors:
			if !ok {
				return
			}
			timer.Reset(settle) // events were lost: look
		case <-b.kick:
			timer.Reset(settle)
		case <-timer.C:
			if err := b.k.rebind(); err != nil {
				b.k.log.Warn("paths of the policy could not all be bound again", "error", err)
			}
		}
	}
}

// follow watches the directories of a binding and no others.
func (b *rebinder) follow(bound *binding) error {
	have := map[string]bool{}
	for _, dir := range b.names.WatchList() {
		have[dir] = true
		if bound.watch[dir] == nil {
			// It may be gone already, and the watch with it.
			if err := b.names.Remove(dir); err != nil && !errors.Is(err, fsnotify.ErrNonExistentWatch) {
				return fmt.Errorf("stop watching %s: %w", dir, err)
			}
		}
	}
	var errs []error
	for dir := range bound.watch {
		if !have[dir] {
			if err := b.names.Add(dir); err != nil {
				errs = append(errs, fmt.Errorf("watch %s: %w", dir, err))
			}
		}
	}
	return errors.Join(errs...)
}

// rebind ties the active generation's paths to what they are now: first what
// is new, then what is gone.
func (k *Kernel) rebind() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.active.Load()
	if g == nil || k.closed.Load() {
		return nil
	}
	b, err := bind(&g.tables.tests, k.identify)
	if err != nil {
		return err
	}
	before := len(g.tables.classes)
	now, old := g.tables.entriesOf(b), g.entries
	if err := k.growClasses(g, before); err != nil {
		return err
	}
	for i := range now.filter {
		now.filter[i] |= old.filter[i]
	}
	g.binding.Store(b)
	g.entries = now
	err = errors.Join(
		k.writeSlot(g),
		putAll(g.inner["objects"], changed(old.objects, now.objects)),
		putAll(g.inner["names"], changed(old.names, now.names)),
		putAll(g.inner["long_names"], changed(old.long, now.long)),
		dropGone(g.inner["objects"], old.objects, now.objects),
		dropGone(g.inner["names"], old.names, now.names),
		dropGone(g.inner["long_names"], old.long, now.long),
		k.rebinder.follow(b))
	k.rebinds.Add(1)
	return err
}

func changed[K comparable, V comparable](old, now map[K]V) map[K]V {
	out := map[K]V{}
	for key, v := range now {
		if was, ok := old[key]; !ok || was != v {
			out[key] = v
		}
	}
	return out
}

func dropGone[K comparable, V any](m *ebpf.Map, old, now map[K]V) error {
	var errs []error
	for key := range old {
		if _, ok := now[key]; ok {
			continue
		}
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, fmt.Errorf("remove from %s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}

package bpf

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// pollDirs is how often the directories that hold what a policy names are
// looked at. An inotify watch would notice sooner, but makes every open on the
// same filesystem dearer, for all processes (docs/performance.md).
const pollDirs = 200 * time.Millisecond

// pollLatest is when they are looked at again, however long binding took.
const pollLatest = 3 * time.Second

// rebinder keeps the active generation tied to what its paths are now: a file
// that is replaced or appears, a directory that is made, a filesystem that is
// mounted. Until it has run, a replaced file is judged by its directory and
// name, which need no binding.
type rebinder struct {
	k    *Kernel
	stop *os.File // closed to end the poll
	wg   sync.WaitGroup
	looks
}

func startRebinder(k *Kernel) (*rebinder, error) {
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("watch mounts: %w", err)
	}
	r, stop, err := os.Pipe()
	if err != nil {
		mounts.Close()
		return nil, fmt.Errorf("watch mounts: %w", err)
	}
	b := &rebinder{k: k, stop: stop, looks: newLooks()}
	b.wg.Add(1)
	go b.run(mounts, r)
	return b, nil
}

func (b *rebinder) close() {
	b.stop.Close()
	b.wg.Wait()
}

// run waits for a change of the mount table or looks at the directories, and
// binds again when something may be different, until stop is closed. The clock is
// looked at on the same occasion.
func (b *rebinder) run(mounts, stop *os.File) {
	defer b.wg.Done()
	defer mounts.Close()
	defer stop.Close()
	defer b.end()
	fds := []unix.PollFd{{Fd: int32(mounts.Fd()), Events: unix.POLLPRI}, {Fd: int32(stop.Fd()), Events: unix.POLLIN}}
	seen := map[string]unix.Timespec{}
	wait := pollDirs
	for {
		if _, err := unix.Poll(fds, int(wait.Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		mounted := fds[0].Revents&(unix.POLLPRI|unix.POLLERR) != 0
		fds[0].Revents = 0
		if err := b.k.followClock(); err != nil {
			b.k.log.Warn("the kernel side does not know that the clock was set", "error", err)
		}
		start, boot := time.Now(), sinceBoot()
		if !b.changed(seen) && !mounted {
			b.looked(boot, false)
			continue
		}
		if mounted {
			b.k.forgetPaths()
		}
		other, err := b.k.rebind()
		if err != nil {
			b.k.unbound.Add(1)
			b.k.log.Warn("paths of the policy could not all be bound again", "error", err)
		}
		b.looked(boot, other || err != nil)
		// A large policy in a busy directory must not keep a core busy, and a
		// slow machine must not be blind for long.
		wait = min(max(pollDirs, 20*time.Since(start)), pollLatest)
	}
}

// changed reports whether a directory that holds something the active policy
// names has changed since the last look. The first look at it is no change: it
// was bound just before.
func (b *rebinder) changed(seen map[string]unix.Timespec) bool {
	g := b.k.active.Load()
	if g == nil {
		return false
	}
	any := false
	watch := g.bound().watch
	for dir := range watch {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			st.Mtim = unix.Timespec{}
		}
		was, known := seen[dir]
		seen[dir] = st.Mtim
		if !known {
			was = g.bound().mtimes[dir]
		}
		any = any || was != st.Mtim
	}
	for dir := range seen {
		if _, ok := watch[dir]; !ok {
			delete(seen, dir)
		}
	}
	return any
}

// rebind ties the active generation's paths to what they are now: first what
// is new, then what is gone. It reports whether something is another than it was.
func (k *Kernel) rebind() (other bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.active.Load()
	if g == nil || k.closed.Load() {
		return false, nil
	}
	b, err := bind(&g.tables.tests, k.identify, g.bound())
	if err != nil {
		return false, err
	}
	before := len(g.tables.classes)
	now, old := g.tables.entriesOf(b), g.entries
	if err := k.growClasses(g, before); err != nil {
		return false, err
	}
	for i := range now.filter {
		now.filter[i] |= old.filter[i]
	}
	for i := range now.files {
		now.files[i] |= old.files[i]
	}
	defer k.rebinds.Add(1)
	g.entries = now
	gone := staleAfter(old, now)
	if !gone.any {
		other = !slices.Equal(g.bound().dirAlias, b.dirAlias)
		g.bindSame(b)
		return other, nil
	}
	// What is decided from here on until all is written may be of either.
	k.config.Bindings++
	if err := k.writeConfig(); err != nil {
		return false, err
	}
	g.bind(b, k.config.Bindings+1)
	err = errors.Join(
		k.writeSlot(g),
		putAll(g.inner["objects"], changed(old.objects, now.objects)),
		putAll(g.inner["names"], changed(old.names, now.names)),
		putAll(g.inner["long_names"], changed(old.long, now.long)),
		dropGone(g.inner["objects"], old.objects, now.objects),
		dropGone(g.inner["names"], old.names, now.names),
		dropGone(g.inner["long_names"], old.long, now.long))
	k.config.Bindings++ // what was found by the old ones is forgotten
	err = errors.Join(err, k.writeConfig())
	return true, errors.Join(err, k.forgetStale(gone))
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

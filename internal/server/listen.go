package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrInUse says that another agent answers on the socket.
var ErrInUse = errors.New("another agent answers there")

// lockedSocket is a unix listener that holds the lock beside its socket: two
// agents that start at once cannot each take the other's socket for a stale one.
type lockedSocket struct {
	net.Listener
	lock *os.File
	once sync.Once
	err  error
}

// Close removes the socket, then lets go of the lock. The lock file stays: to
// remove it would let two agents hold locks on two files of one name.
func (l *lockedSocket) Close() error {
	l.once.Do(func() { l.err = errors.Join(l.Listener.Close(), l.lock.Close()) })
	return l.err
}

// listenUnix opens the agent's socket with mode 0600, in a directory that is
// made with mode 0700 if it is not there. What an agent that died has left is
// removed; nothing else is.
func listenUnix(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make socket directory: %w", err)
	}
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock socket: %w", err)
	}
	l, err := listenLocked(ctx, path, lock)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &lockedSocket{Listener: l, lock: lock}, nil
}

func listenLocked(ctx context.Context, path string, lock *os.File) (net.Listener, error) {
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("listen on %s: %w", path, ErrInUse)
		}
		return nil, fmt.Errorf("lock socket: %w", err)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	// Bound under another name and renamed: there is no moment at which the
	// socket is there with a wider mode, or does not answer.
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", tmp)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(tmp, 0o600), os.Rename(tmp, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), l.Close(), os.Remove(tmp))
	}
	return &unlinking{UnixListener: u, path: path}, nil
}

// unlinking removes its socket when it is closed.
type unlinking struct {
	*net.UnixListener
	path string
}

func (u *unlinking) Close() error {
	return errors.Join(os.Remove(u.path), u.UnixListener.Close())
}

func (u *unlinking) Addr() net.Addr { return &net.UnixAddr{Name: u.path, Net: "unix"} }

// removeStale removes a socket that nobody answers on.
func removeStale(ctx context.Context, path string) error {
	st, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("listen on %s: %w", path, err)
	case st.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("listen on %s: something that is no socket is there", path)
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		c.Close()
		return fmt.Errorf("listen on %s: %w", path, ErrInUse)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("listen on %s: cannot tell whether the socket there is in use: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove stale socket: %w", err)
	}
	return nil
}

// inodeOf tells a file from one that replaced it.
func inodeOf(st os.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return sys.Ino
	}
	return 0
}

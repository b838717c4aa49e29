package digest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// old makes a file whose change time is not recent.
func old(t *testing.T, dir string, b []byte) string {
	t.Helper()
	name := filepath.Join(dir, "program")
	if err := os.WriteFile(name, b, 0o755); err != nil {
		t.Fatal(err)
	}
	for {
		var st unix.Stat_t
		if err := unix.Stat(name, &st); err != nil {
			t.Fatal(err)
		}
		if !recent(st.Ctim) {
			return name
		}
		time.Sleep(time.Millisecond)
	}
}

func of(t *testing.T, c *Cache, name string) (string, error) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return c.Of(t.Context(), int(f.Fd()))
}

func sumOf(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// edit changes a file through a mapping, as nothing else tells of it.
func edit(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	m[0]++ // read first: then tmpfs does not see the write
	if err := unix.Munmap(m); err != nil {
		t.Fatal(err)
	}
}

// tmpfs mounts one.
func tmpfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Skip("cannot mount:", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// TestContent: a digest is that of the content at the time, however the file
// was changed, on filesystems that note changes and on those that do not.
func TestContent(t *testing.T) {
	for name, dir := range map[string]string{"disk": t.TempDir(), "tmpfs": tmpfs(t)} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Repeat([]byte("text"), 1<<18)
			path := old(t, dir, b)
			c := New()
			check := func(want []byte) {
				t.Helper()
				for range 2 {
					if got, err := of(t, c, path); err != nil || got != sumOf(want) {
						t.Fatalf("got %s, %v", got, err)
					}
				}
			}
			check(b)
			for range 3 { // more often than the clock ticks
				edit(t, path)
				b[0]++
				check(b)
			}
		})
	}
}

// TestRead: what has not changed is read once, unless nobody could tell.
func TestRead(t *testing.T) {
	var fs unix.Statfs_t
	dir := t.TempDir()
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	for _, at := range []struct {
		dir  string
		want uint64
	}{{dir, map[bool]uint64{true: 1, false: 3}[stamps[int64(fs.Type)]]}, {tmpfs(t), 3}} {
		c := New()
		path := old(t, at.dir, []byte("text"))
		for range 3 {
			if _, err := of(t, c, path); err != nil {
				t.Fatal(err)
			}
		}
		if n := c.Counters()["digests_computed"]; n != at.want {
			t.Errorf("%s was read %d times, want %d", path, n, at.want)
		}
	}
}

// TestWriters: who has the file open for writing spoils the digest; who opens it
// for writing waits until the exec had its time.
func TestWriters(t *testing.T) {
	c := New()
	path := old(t, t.TempDir(), []byte("text"))
	w, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := of(t, c, path); !errors.Is(err, ErrOpen) {
		t.Errorf("with a writer: %v", err)
	}
	w.Close()
	if _, err := of(t, c, path); err != nil {
		t.Error(err)
	}
	if fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NONBLOCK, 0); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("opened for writing right after: %d, %v", fd, err)
	}
	start := time.Now()
	w, err = os.OpenFile(path, os.O_WRONLY, 0) // waits
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	if d := time.Since(start); d > 20*keepOut {
		t.Errorf("a writer waited %v", d)
	}
}

func TestLarge(t *testing.T) {
	path := old(t, t.TempDir(), nil)
	if err := os.Truncate(path, MaxSize+1); err != nil {
		t.Fatal(err)
	}
	c := New()
	if _, err := of(t, c, path); !errors.Is(err, ErrLarge) {
		t.Errorf("got %v", err)
	}
}

// TestBound: however many contents, no more are remembered than fit.
func TestBound(t *testing.T) {
	c := New()
	for i := range uint64(2 * maxKnown) {
		c.look(content{ino: i})
	}
	if len(c.known) != maxKnown {
		t.Errorf("%d are known", len(c.known))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f, err := os.Open(old(t, tmpfs(t), []byte("text")))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := c.Of(ctx, int(f.Fd())); !errors.Is(err, context.Canceled) {
		t.Errorf("after the deadline: %v", err)
	}
}

// BenchmarkOf: a program of 1 MiB whose digest is known, and one that must be read.
func BenchmarkOf(b *testing.B) {
	name := filepath.Join(b.TempDir(), "program")
	if err := os.WriteFile(name, make([]byte, 1<<20), 0o755); err != nil {
		b.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	b.Run("read", func(b *testing.B) {
		c := New()
		for b.Loop() {
			if _, err := c.read(b.Context(), f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known", func(b *testing.B) {
		c := New()
		time.Sleep(2 * tick)
		for b.Loop() {
			if _, err := c.Of(b.Context(), int(f.Fd())); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Package file writes records as lines of a file that is rotated, or to
// standard output.
package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"example.com/bailiff/internal/sink"
)

// Stdout is the path that stands for standard output.
const Stdout = "-"

// Options says where to write.
type Options struct {
	Path     string        // of the file; Stdout for standard output
	MaxBytes int64         // size after which another file is begun; 0: 100 MiB
	MaxAge   time.Duration // age after which another file is begun; 0: never
	Keep     int           // how many full files stay; 0: 5
	Mode     fs.FileMode   // 0: 0600
	Now      func() time.Time
	Out      io.Writer // standard output
}

// Sender is a sink.Sender that appends to a file. A line is there whole or not
// at all: what a crash has left of one is cut off.
type Sender struct {
	o     Options
	f     *os.File
	size  int64
	begun time.Time
	buf   []byte
}

// New makes a sender. The file is opened with the first record.
func New(o Options) *Sender {
	if o.MaxBytes == 0 {
		o.MaxBytes = 100 << 20
	}
	if o.Keep == 0 {
		o.Keep = 5
	}
	if o.Mode == 0 {
		o.Mode = 0o600
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Sender{o: o}
}

// Send implements sink.Sender.
func (s *Sender) Send(_ context.Context, records []sink.Record) (int, error) {
	for len(records) > 0 {
		if err := s.ready(); err != nil {
			return 0, err
		}
		n := 0
		s.buf = s.buf[:0]
		for n < len(records) && (n == 0 || s.size+int64(len(s.buf)+len(records[n].Body)+1) <= s.o.MaxBytes || s.f == nil) {
			s.buf = append(append(s.buf, records[n].Body...), '\n')
			n++
		}
		if err := s.write(); err != nil {
			return 0, err
		}
		records = records[n:]
	}
	return 0, nil
}

func (s *Sender) write() error {
	if s.o.Path == Stdout {
		_, err := s.o.Out.Write(s.buf)
		return wrap("write to standard output", err)
	}
	n, err := s.f.Write(s.buf)
	if err != nil {
		// Nothing of it stays, as all of it will come again.
		if n > 0 {
			err = errors.Join(err, s.f.Truncate(s.size))
		}
		return errors.Join(wrap("write records", err), s.shut())
	}
	s.size += int64(n)
	return nil
}

// ready opens the file, or another one if this one is full, old, or no longer
// there under its name (somebody else rotates).
func (s *Sender) ready() error {
	if s.o.Path == Stdout {
		return nil
	}
	if s.f != nil && !s.named() {
		if err := s.finish(); err != nil {
			return err
		}
	}
	if s.f == nil {
		if err := s.open(); err != nil {
			return err
		}
	}
	full := s.size >= s.o.MaxBytes || s.size > 0 && s.o.MaxAge > 0 && s.o.Now().Sub(s.begun) >= s.o.MaxAge
	if !full {
		return nil
	}
	return s.rotate()
}

// named reports whether the open file is the one of that name.
func (s *Sender) named() bool {
	a, err := s.f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(s.o.Path)
	return err == nil && os.SameFile(a, b)
}

func (s *Sender) open() error {
	f, err := os.OpenFile(s.o.Path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, s.o.Mode)
	if err != nil {
		return wrap("open file", err)
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(wrap("open file", err), f.Close())
	}
	size := st.Size()
	if st.Mode().IsRegular() {
		if size, err = whole(f, size); err == nil {
			_, err = f.Seek(size, io.SeekStart)
		}
	}
	if err != nil {
		return errors.Join(wrap("open file", err), f.Close())
	}
	s.f, s.size, s.begun = f, size, s.o.Now()
	if size > 0 {
		s.begun = st.ModTime() // nearest to its first line that is known
	}
	return nil
}

// whole cuts off what stands behind the last line's end and returns the size.
func whole(f *os.File, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for end := size; end > 0; {
		from := max(0, end-int64(len(buf)))
		b := buf[:end-from]
		if _, err := f.ReadAt(b, from); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 {
			end = from + int64(i) + 1
			if end < size {
				return end, f.Truncate(end)
			}
			return end, nil
		}
		end = from
	}
	if size > 0 {
		return 0, f.Truncate(0)
	}
	return 0, nil
}

// rotate gives the file a name with the time in it and begins another one.
func (s *Sender) rotate() error {
	if err := s.finish(); err != nil {
		return err
	}
	at := s.o.Now().UTC()
	name := s.o.Path + "." + at.Format(stamp)
	for exists(name) {
		at = at.Add(time.Microsecond)
		name = s.o.Path + "." + at.Format(stamp)
	}
	if err := os.Rename(s.o.Path, name); err != nil {
		return wrap("rotate file", err)
	}
	s.prune()
	return s.open()
}

const stamp = "20060102T150405.000000Z"

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// prune removes the oldest full files. One that cannot be removed now is
// removed at the next rotation.
func (s *Sender) prune() {
	all, err := os.ReadDir(filepath.Dir(s.o.Path))
	if err != nil {
		return
	}
	var full []string
	for _, e := range all {
		when, ours := strings.CutPrefix(e.Name(), filepath.Base(s.o.Path)+".")
		if _, err := time.Parse(stamp, when); ours && err == nil {
			full = append(full, e.Name())
		}
	}
	slices.Sort(full)
	for len(full) > s.o.Keep {
		_ = os.Remove(filepath.Join(filepath.Dir(s.o.Path), full[0]))
		full = full[1:]
	}
}

// finish closes a file that is full; all of it is on disk then.
func (s *Sender) finish() error {
	if err := s.sync(); err != nil {
		return errors.Join(err, s.shut())
	}
	return s.shut()
}

func (s *Sender) sync() error {
	err := s.f.Sync()
	if errors.Is(err, syscall.EINVAL) { // a pipe or a device
		return nil
	}
	return wrap("sync file", err)
}

func (s *Sender) shut() error {
	f := s.f
	s.f = nil
	if f == nil {
		return nil
	}
	return wrap("close file", f.Close())
}

// Confirm implements sink.Sender: the file is on disk when it returns.
func (s *Sender) Confirm(context.Context) (int, error) {
	if s.f == nil {
		return 0, nil
	}
	if err := s.sync(); err != nil {
		return 0, errors.Join(err, s.shut())
	}
	return 0, nil
}

// Close implements sink.Sender.
func (s *Sender) Close() error { return s.shut() }

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

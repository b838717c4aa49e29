package decisionlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// file appends lines and begins another file when it is full: NAME, NAME.1 (the
// newest full one) to NAME.keep.
type file struct {
	path string
	max  int64
	keep int
	f    *os.File
	size int64
}

func (w *file) write(line []byte) error {
	if w.f != nil && w.size > 0 && w.size+int64(len(line))+1 > w.max {
		if err := w.rotate(); err != nil {
			return err
		}
	}
	if w.f == nil {
		if err := w.open(); err != nil {
			return err
		}
	}
	n, err := w.f.Write(append(line, '\n'))
	if err != nil {
		// What is there of the line goes again, or the next one would be spoilt.
		err = errors.Join(err, w.f.Truncate(w.size))
		w.close()
		return fmt.Errorf("write decision log: %w", err)
	}
	w.size += int64(n)
	return nil
}

func (w *file) open() error {
	f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open decision log: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		return errors.Join(fmt.Errorf("open decision log: %w", err), f.Close())
	}
	w.f, w.size = f, st.Size()
	return nil
}

func (w *file) rotate() error {
	w.close()
	for i := w.keep; i > 0; i-- {
		from := w.path
		if i > 1 {
			from = fmt.Sprintf("%s.%d", w.path, i-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", w.path, i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("rotate decision log: %w", err)
		}
	}
	return nil
}

func (w *file) close() {
	if w.f != nil {
		_ = w.f.Close() // every write was checked
		w.f, w.size = nil, 0
	}
}

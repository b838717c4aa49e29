package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"example.com/bailiff/internal/event"
)

// MaxConsumers bounds the named cursors of a log.
const MaxConsumers = 64

const cursorExt = ".cursor"

// ErrConsumer says that a consumer's name is not one.
var ErrConsumer = errors.New("a consumer's name has 1 to 64 letters, digits, dots, dashes and underscores, and does not begin with a dot")

// cursorPath checks a name, which comes from outside.
func (l *Log) cursorPath(name string) (string, error) {
	if !regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$`).MatchString(name) {
		return "", ErrConsumer
	}
	return filepath.Join(l.o.Dir, name+cursorExt), nil
}

// Acknowledged returns up to where a consumer has everything. The zero
// Position: it never said, or its file is damaged, which is an error too; it
// then gets all that is kept once more.
func (l *Log) Acknowledged(name string) (event.Position, error) {
	path, err := l.cursorPath(name)
	if err != nil {
		return event.Position{}, err
	}
	l.cursorMu.Lock()
	defer l.cursorMu.Unlock()
	return readCursor(path)
}

func readCursor(path string) (p event.Position, err error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return p, nil
	case err != nil:
		return p, fmt.Errorf("read cursor: %w", err)
	}
	var crc uint32
	n, err := fmt.Sscanf(string(b), "bailiff-cursor 1\nrun %s\nseq %d\nsum %08x\n", &p.Run, &p.Seq, &crc)
	if err != nil || n != 3 || string(b) != string(cursorText(p)) {
		return event.Position{}, fmt.Errorf("read cursor %s: it is damaged", filepath.Base(path))
	}
	return p, nil
}

func cursorText(p event.Position) []byte {
	s := fmt.Sprintf("bailiff-cursor 1\nrun %s\nseq %d\n", p.Run, p.Seq)
	return fmt.Appendf(nil, "%ssum %08x\n", s, sum(0, []byte(s)))
}

// Acknowledge stores that a consumer has everything up to p, on disk when it
// returns. It never goes back; a position of a run that is not known is an
// error.
func (l *Log) Acknowledge(name string, p event.Position) error {
	path, err := l.cursorPath(name)
	if err != nil {
		return err
	}
	to, known := l.after(p)
	if p.Run == "" || !known {
		return fmt.Errorf("acknowledge: run %q is not known here", p.Run)
	}
	l.cursorMu.Lock()
	defer l.cursorMu.Unlock()
	old, err := readCursor(path)
	if err == nil && old.Run != "" {
		if from, known := l.after(old); known && from >= to {
			return nil
		}
	}
	if err == nil && old.Run == "" {
		all, err := filepath.Glob(filepath.Join(l.o.Dir, "*"+cursorExt))
		if err != nil || len(all) >= MaxConsumers {
			return fmt.Errorf("acknowledge: there are %d consumers already", len(all))
		}
	}
	if err := replaceFile(path, cursorText(p)); err != nil {
		return fmt.Errorf("acknowledge: %w", err)
	}
	return nil
}

// Forget removes a consumer's cursor.
func (l *Log) Forget(name string) error {
	path, err := l.cursorPath(name)
	if err != nil {
		return err
	}
	l.cursorMu.Lock()
	defer l.cursorMu.Unlock()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget consumer: %w", err)
	}
	return nil
}

// Consumers lists the named cursors.
func (l *Log) Consumers() []string {
	all, err := filepath.Glob(filepath.Join(l.o.Dir, "*"+cursorExt))
	if err != nil {
		return nil
	}
	for i := range all {
		all[i] = strings.TrimSuffix(filepath.Base(all[i]), cursorExt)
	}
	return all
}

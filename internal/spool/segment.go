package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"example.com/bailiff/internal/event"
)

// segment is one file of the log. All of it belongs to one run, but for a gap
// at its beginning, which may stand for the end of the run before.
type segment struct {
	number uint64 // order of the files; never used twice
	first  uint64 // index of the first event that it may hold
	path   string
	limit  int64     // bytes that readers may look at
	last   time.Time // of the last write
	sealed bool      // nothing is added any more
	run    runEntry
}

// runEntry is what must be known of a run to read its segments.
type runEntry struct {
	event.Run
	base    uint64 // index of an event is base + its sequence number
	salt    uint32
	segment uint64 // number of its first segment
}

const segmentHeader = 128

func segmentName(number, first uint64) string { return fmt.Sprintf("%010d-%020d.seg", number, first) }

func parseSegmentName(name string) (number, first uint64, ok bool) {
	n, err := fmt.Sscanf(name, "%010d-%020d.seg", &number, &first)
	return number, first, err == nil && n == 2 && name == segmentName(number, first)
}

// header is the head of a segment file: it repeats what the table of runs
// says, so that either may be damaged.
func (s *segment) header(now time.Time) []byte {
	b := make([]byte, segmentHeader)
	copy(b, "BAILSPL1")
	binary.LittleEndian.PutUint32(b[12:], s.run.salt)
	binary.LittleEndian.PutUint64(b[16:], s.run.base)
	binary.LittleEndian.PutUint64(b[24:], s.run.segment)
	binary.LittleEndian.PutUint64(b[32:], uint64(now.UnixNano()))
	putText(b[40:84], s.run.ID)
	putText(b[84:128], s.run.Boot)
	binary.LittleEndian.PutUint32(b[8:], sum(0, b[12:]))
	return b
}

func parseSegmentHeader(b []byte) (runEntry, bool) {
	if len(b) < segmentHeader || string(b[:8]) != "BAILSPL1" || sum(0, b[12:segmentHeader]) != binary.LittleEndian.Uint32(b[8:]) {
		return runEntry{}, false
	}
	return runEntry{
		Run: event.Run{ID: text(b[40:84]), Boot: text(b[84:128])}, salt: binary.LittleEndian.Uint32(b[12:]),
		base: binary.LittleEndian.Uint64(b[16:]), segment: binary.LittleEndian.Uint64(b[24:]),
	}, true
}

// maxText is the longest name of a run or a boot.
const maxText = 43

func putText(b []byte, s string) { b[0] = byte(copy(b[1:], s)) }
func text(b []byte) string       { return string(b[1 : 1+min(int(b[0]), len(b)-1)]) }

// listSegments returns the segment files of a directory in order.
func listSegments(dir string) ([]*segment, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var out []*segment
	for _, e := range entries {
		number, first, ok := parseSegmentName(e.Name())
		if !ok || !e.Type().IsRegular() {
			continue
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list segments: %w", err)
		}
		out = append(out, &segment{
			number: number, first: first, path: filepath.Join(dir, e.Name()), limit: st.Size(), last: st.ModTime(), sealed: true,
		})
	}
	slices.SortFunc(out, func(a, b *segment) int { return strings.Compare(filepath.Base(a.path), filepath.Base(b.path)) })
	return out, nil
}

// frames reads the frames of a segment in order.
type frames struct {
	f    io.ReaderAt
	salt uint32
	off  int64
	buf  []byte
	torn int64 // bytes passed over that are no frame
	unpacker
}

// next returns the next whole frame that ends at or before limit, passing over
// what is damaged. ok is false at the limit; err is of reading.
func (r *frames) next(limit int64) (f frame, ok bool, err error) {
	for r.off < limit {
		f, n, err := r.at(r.off, limit)
		if err == nil {
			r.off += int64(n)
			return f, true, nil
		}
		if !errors.Is(err, errBadFrame) {
			return f, false, err
		}
		// Damage is rare: all of the rest may be looked at in memory.
		rest := make([]byte, limit-r.off)
		n, err = r.f.ReadAt(rest, r.off)
		if err != nil && !errors.Is(err, io.EOF) {
			return f, false, fmt.Errorf("read segment: %w", err)
		}
		at, found := resync(rest[:n], 1, r.salt)
		if !found {
			at = len(rest)
		}
		r.torn += int64(at)
		r.off += int64(at)
	}
	return f, false, nil
}

func (r *frames) at(off, limit int64) (f frame, length int, err error) {
	if err := r.fill(off, min(frameHeader, limit-off)); err != nil {
		return f, 0, err
	}
	length, err = frameLength(r.buf)
	if err != nil || off+int64(length) > limit {
		return f, 0, errBadFrame
	}
	if err := r.fill(off, int64(length)); err != nil {
		return f, 0, err
	}
	if f, length, err = parseFrame(r.buf, r.salt); err != nil || !f.packed {
		return f, length, err
	}
	return f, length, r.unpack(&f)
}

func (r *frames) fill(off, n int64) error {
	r.buf = slices.Grow(r.buf[:0], int(n))[:n]
	_, err := r.f.ReadAt(r.buf, off)
	switch {
	case errors.Is(err, io.EOF):
		return errBadFrame // somebody cut the file
	case err != nil:
		return fmt.Errorf("read segment: %w", err)
	}
	return nil
}

package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// errInUse says that another process has the directory.
var errInUse = errors.New("another agent has the directory")

// keptRuns is how many runs a cursor may be behind and still be understood.
const keptRuns = 256

// prepare reads the directory, finds what the run before has lost, and begins
// this run. It changes nothing that cannot be done again, until it succeeds.
func (w *writer) prepare() error {
	began := time.Now()
	o := &w.l.o
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	if w.lock == nil {
		d, st, err := lockDir(o.Dir)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return errInUse
		}
		if err != nil {
			return err
		}
		w.lock, w.dir = d, st
	}
	segments, err := listSegments(o.Dir)
	if err != nil {
		return err
	}
	runs := knownRuns(o.Dir, segments)
	report := event.SpoolReport{Clean: true, Segments: len(segments)}
	last, number := uint64(0), uint64(0) // index of the newest event, number of the newest file
	if n := len(runs); n > 0 {
		last, number = runs[n-1].base, runs[n-1].segment
		report.Clean = false
	}
	if n := len(segments); n > 0 {
		var end uint64
		end, report.Clean, report.TornBytes = findEnd(segments[n-1])
		// A run that has not left a single file did not end well either.
		report.Clean = report.Clean && len(runs) > 0 && segments[n-1].run == runs[len(runs)-1]
		last, number = max(last, end-1), max(number, segments[n-1].number)
	}
	written := last
	old, haveHead := readHead(o.Head, w.dir)
	if haveHead {
		last = max(last, old.base+old.last)
	}
	report.AtLeast = !report.Clean && !(haveHead && old.boot == o.Run.Boot)
	if !report.Clean && !report.AtLeast && o.Acts != nil {
		acts, known := o.Acts(old.run)
		if numbered := old.last - old.notices; acts > numbered {
			last += acts - numbered
		}
		report.AtLeast = !known
	}
	report.Lost = last - written

	var salt [4]byte
	rand.Read(salt[:]) // never fails
	run := runEntry{Run: o.Run, base: last, salt: binary.LittleEndian.Uint32(salt[:]), segment: number + 1}
	runs = append(runs, run)
	if err := writeRuns(o.Dir, runs); err != nil {
		return err
	}
	if h, err := newHead(o.Head, w.dir, run); err == nil {
		w.l.setHead(h)
	} // without it the next start knows less, and says so
	if report.Lost > 0 || report.AtLeast {
		w.unclean = &frame{kind: kindGap, reason: event.LossUnclean, first: written + 1, count: report.Lost, atLeast: report.AtLeast}
		w.l.lost[event.LossUnclean].Add(report.Lost)
	}
	w.runEntry, w.number = run, number
	w.prepared = true

	w.l.mu.Lock()
	w.l.ready, w.l.runs, w.l.segments = true, runs, segments
	w.l.tell()
	w.l.mu.Unlock()
	report.Took = time.Since(began)
	w.report = &report
	return nil
}

// setHead begins to use the page, which must know of the events that came
// before it.
func (l *Log) setHead(h *head) {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	if h.set(l.seq, l.notices) {
		l.head = h
	}
}

// findEnd reads the newest segment of a former run: the index after its last
// event, whether the run ended well, and how much of it is half-written; that
// is cut off.
func findEnd(s *segment) (end uint64, clean bool, torn int64) {
	end = s.first
	f, err := os.Open(s.path)
	if err != nil {
		return end, false, 0
	}
	defer f.Close()
	r := frames{f: f, salt: s.run.salt, off: segmentHeader}
	defer r.unpacker.close()
	whole := min(s.limit, segmentHeader)
	for {
		fr, ok, err := r.next(s.limit)
		if !ok || err != nil {
			break
		}
		end, whole, clean = max(end, fr.end()), r.off, fr.kind == kindEnd
	}
	if torn = s.limit - whole; clean && torn == 0 {
		return end, true, 0
	}
	// Also if nothing is torn: the blocks that a killed run had set aside for
	// the rest of the file are given back.
	if os.Truncate(s.path, whole) == nil { // on a disk that is read-only the bytes stay and are passed over
		s.limit = whole
	}
	return end, false, torn
}

// knownRuns puts together what the table and the heads of the segments say, and
// gives each segment its run.
func knownRuns(dir string, segments []*segment) []runEntry {
	runs := readRuns(dir)
	for _, s := range segments {
		r, ok := readSegmentHeader(s.path)
		if ok && !slices.ContainsFunc(runs, func(k runEntry) bool { return k.segment == r.segment }) {
			runs = append(runs, r)
		}
	}
	slices.SortFunc(runs, func(a, b runEntry) int {
		if a.segment < b.segment {
			return -1
		}
		return 1
	})
	for _, s := range segments {
		for _, r := range runs {
			if r.segment <= s.number {
				s.run = r
			}
		}
	}
	oldest := len(runs)
	if len(segments) > 0 {
		oldest = max(0, slices.IndexFunc(runs, func(r runEntry) bool { return r == segments[0].run }))
	}
	return runs[min(oldest, max(0, len(runs)-keptRuns)):]
}

func readSegmentHeader(path string) (runEntry, bool) {
	f, err := os.Open(path)
	if err != nil {
		return runEntry{}, false
	}
	defer f.Close()
	b := make([]byte, segmentHeader)
	if _, err := f.ReadAt(b, 0); err != nil {
		return runEntry{}, false
	}
	return parseSegmentHeader(b)
}

func runsPath(dir string) string { return filepath.Join(dir, "runs") }

// readRuns reads the table of runs; a line that is damaged is left out.
func readRuns(dir string) []runEntry {
	b, err := os.ReadFile(runsPath(dir))
	if err != nil {
		return nil
	}
	var out []runEntry
	for line := range strings.Lines(string(b)) {
		var r runEntry
		var crc uint32
		if n, err := fmt.Sscanf(line, "%q %q %d %d %d %08x\n", &r.ID, &r.Boot, &r.base, &r.salt, &r.segment, &crc); err == nil && n == 6 && line == runLine(r) {
			out = append(out, r)
		}
	}
	return out
}

func writeRuns(dir string, runs []runEntry) error {
	var b strings.Builder
	for _, r := range runs {
		b.WriteString(runLine(r))
	}
	return replaceFile(runsPath(dir), []byte(b.String()))
}

func runLine(r runEntry) string {
	s := fmt.Sprintf("%q %q %d %d %d", r.ID, r.Boot, r.base, r.salt, r.segment)
	return fmt.Sprintf("%s %08x\n", s, sum(0, []byte(s)))
}

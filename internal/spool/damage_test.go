package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"example.com/bailiff/internal/event"
)

// sampleLog makes a small log of one run, several segments and frames, and
// returns its files. Not closed well: as if the agent had been killed.
func sampleLog(t testing.TB, clean bool) (files map[string][]byte, total uint64) {
	t.Helper()
	dir := memDir(t)
	l, err := Open(Options{Dir: dir, Run: event.Run{ID: "a", Boot: "boot"}, SegmentBytes: 4096, MaxBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for seq := uint64(1); seq <= 150; seq++ {
		l.Append(seq, payload("a", seq), seq%5 == 0) // urgent: frames of about five
		if seq%5 == 0 {
			if t, ok := t.(*testing.T); ok {
				flushed(t, l)
			}
		}
	}
	if clean {
		closeLog(t, l)
	} else {
		files = readDir(t, dir) // before the end is noted
	}
	if clean {
		files = readDir(t, dir)
	} else {
		closeLog(t, l)
	}
	return files, 150
}

func readDir(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = b
	}
	return out
}

func writeDir(t testing.TB, dir string, files map[string][]byte) {
	t.Helper()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// reopen starts run b on what is left of run a, adds one event, and reads all.
func reopen(t *testing.T, dir string) (*tally, event.SpoolReport) {
	t.Helper()
	var found event.SpoolReport
	l, err := Open(Options{Dir: dir, Run: event.Run{ID: "b", Boot: "boot"}, SegmentBytes: 4096, MaxBytes: 1 << 20,
		Opened: func(r event.SpoolReport) { found = r }})
	if err != nil {
		t.Fatal(err)
	}
	fill(l, 1, 3)
	return readAll(t, l, event.Position{Run: "a"}), found
}

// TestFlipAnywhere: whichever byte of a log changes, no event comes changed or
// twice, what is lost is one frame at most, and the gap is exact.
func TestFlipAnywhere(t *testing.T) {
	files, total := sampleLog(t, true)
	if len(files) < 4 {
		t.Fatalf("only %d files", len(files))
	}
	dir := memDir(t)
	for name, b := range files {
		if name == "head" {
			continue // it names another directory here
		}
		for i := range b {
			for old := range readDir(t, dir) {
				os.Remove(filepath.Join(dir, old))
			}
			writeDir(t, dir, files)
			c := bytes.Clone(b)
			c[i] ^= 1 << (i % 8)
			writeDir(t, dir, map[string][]byte{name: c})
			got, found := reopen(t, dir)
			if t.Failed() {
				t.Fatalf("%s, byte %d", name, i)
			}
			if got.unknown > 0 { // the name of the run itself is damaged in both places? one is enough
				t.Fatalf("%s, byte %d: the run is not known: %+v", name, i, got)
			}
			// Five events are one frame. If the last one is damaged beyond
			// what the next can show, the end is unsure and said to be.
			whole := got.got["a"]+got.lost["a"] == total
			if got.got["b"] != 3 || got.lost["a"] > 5 || !whole && !(found.AtLeast && got.unsure > 0) {
				t.Fatalf("%s, byte %d: found %+v, got %+v", name, i, found, got)
			}
		}
	}
}

// TestTornAnywhere: the newest segment ends at any byte. With the page of the
// killed agent the number of lost events is exact, without it the gap says that
// nobody knows.
func TestTornAnywhere(t *testing.T) {
	files, total := sampleLog(t, false)
	newest := ""
	for name := range files {
		if _, _, ok := parseSegmentName(name); ok && name > newest {
			newest = name
		}
	}
	for _, withHead := range []bool{true, false} {
		for n := range len(files[newest]) + 1 {
			dir := memDir(t)
			writeDir(t, dir, files)
			if err := os.Truncate(filepath.Join(dir, newest), int64(n)); err != nil {
				t.Fatal(err)
			}
			if withHead {
				adoptHead(t, dir, total)
			} else if err := os.Remove(filepath.Join(dir, "head")); err != nil {
				t.Fatal(err)
			}
			got, found := reopen(t, dir)
			if found.Clean || got.got["b"] != 3 || got.got["a"] == 0 {
				t.Fatalf("%d bytes: found %+v, got %+v", n, found, got)
			}
			if withHead && (found.AtLeast || got.unsure > 0 || got.got["a"]+got.lost["a"] != total || found.Lost != got.lost["a"] || got.reasons[event.LossUnclean] != got.lost["a"]) {
				t.Fatalf("%d bytes: found %+v, got %+v", n, found, got)
			}
			if !withHead && (!found.AtLeast || found.Lost != 0 || got.unsure != 1 || got.lost["a"] != 0) {
				t.Fatalf("%d bytes, no head: found %+v, got %+v", n, found, got)
			}
			os.RemoveAll(dir)
		}
	}
}

// adoptHead makes the page say what it said, for the directory of the copy.
func adoptHead(t *testing.T, dir string, last uint64) {
	t.Helper()
	d, st, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
	h, err := newHead(filepath.Join(dir, "head"), st, runEntry{Run: event.Run{ID: "a", Boot: "boot"}})
	if err != nil {
		t.Fatal(err)
	}
	h.set(last, 0)
	h.close()
}

// TestSegmentGone: a file that somebody removed or emptied is a gap of exactly
// what was in it.
func TestSegmentGone(t *testing.T) {
	files, total := sampleLog(t, true)
	for name, b := range files {
		number, _, ok := parseSegmentName(name)
		if !ok || number == 1 {
			continue
		}
		for _, how := range []func(string) error{
			os.Remove,
			func(p string) error { return os.Truncate(p, 0) },
			func(p string) error { return os.WriteFile(p, bytes.Repeat([]byte{0xf7}, len(b)), 0o600) },
		} {
			dir := memDir(t)
			writeDir(t, dir, files)
			if err := how(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			got, found := reopen(t, dir)
			if got.got["b"] != 3 || got.lost["a"] == total || !found.AtLeast && got.got["a"]+got.lost["a"] != total {
				t.Fatalf("%s: found %+v, got %+v", name, found, got)
			}
		}
	}
}

// TestPageIsCut: the agent survives that somebody cuts the file of its page.
func TestPageIsCut(t *testing.T) {
	dir := memDir(t)
	l := open(t, Options{Dir: dir, Run: event.Run{ID: "a"}})
	fill(l, 1, 10)
	if err := os.Truncate(filepath.Join(dir, "head"), 0); err != nil {
		t.Fatal(err)
	}
	fill(l, 11, 20)
	if c := readAll(t, l, event.Position{}); c.got["a"] != 20 {
		t.Errorf("got %+v", c)
	}
}

// FuzzFrames: whatever stands in a file, reading it ends, and gives only frames
// with the right sum, each inside the file and after the one before.
func FuzzFrames(f *testing.F) {
	const salt = 77
	good := appendFrame(nil, &frame{kind: kindRecords, first: 5, count: 2, payload: appendRecord(appendRecord(nil, []byte("a")), []byte("bc"))}, salt)
	good = appendFrame(good, &frame{kind: kindGap, first: 7, count: 3, reason: event.LossQueue}, salt)
	good = appendFrame(good, &frame{kind: kindEnd, first: 10}, salt)
	f.Add(good, 0, byte(0))
	packed := &frame{kind: kindRecords, first: 5, count: 9, payload: bytes.Repeat(appendRecord(nil, []byte("abcabcabc")), 9)}
	if newPacker().pack(packed); !packed.packed {
		f.Fatal("nothing was packed")
	}
	f.Add(appendFrame(nil, packed, salt), 45, byte(4))
	f.Add(good[1:], 30, byte(1))
	f.Add(append(bytes.Clone(good), good...), 100, byte(0x80))
	f.Fuzz(func(t *testing.T, b []byte, at int, flip byte) {
		if at >= 0 && at < len(b) {
			b[at] ^= flip
		}
		r := frames{f: bytes.NewReader(b), salt: salt}
		for before := int64(-1); ; {
			fr, ok, err := r.next(int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if r.off <= before || r.off > int64(len(b)) {
				t.Fatalf("frame from %d to %d of %d", before, r.off, len(b))
			}
			before = r.off
			n := uint64(0)
			for p := fr.payload; fr.kind == kindRecords && len(p) > 0; n++ {
				if p, ok = skipRecord(p); !ok {
					t.Fatal("a record ends outside its frame")
				}
			}
			if fr.kind == kindRecords && n != fr.count {
				t.Fatalf("%d records, said to be %d", n, fr.count)
			}
		}
		if r.off != int64(len(b)) {
			t.Fatalf("ended at %d of %d", r.off, len(b))
		}
	})
}

// TestForgedFrame: bytes that an event carries are never taken for a frame,
// even where the frame around them is damaged: the salt is not known outside.
func TestForgedFrame(t *testing.T) {
	forged := appendFrame(nil, &frame{kind: kindRecords, first: 2, count: 1, payload: appendRecord(nil, []byte("nothing happened"))}, 0)
	dir := memDir(t)
	l := open(t, Options{Dir: dir, Run: event.Run{ID: "a"}})
	l.Append(1, forged, true)
	closeLog(t, l)
	name, err := filepath.Glob(dir + "/*.seg")
	if err != nil || len(name) != 1 {
		t.Fatal(name, err)
	}
	b, err := os.ReadFile(name[0])
	if err != nil {
		t.Fatal(err)
	}
	b[segmentHeader] ^= 1 // the true frame
	if err := os.WriteFile(name[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, Options{Dir: dir, Run: event.Run{ID: "b"}})
	c := readAll(t, l, event.Position{})
	if c.got["a"] != 0 || c.lost["a"] != 1 {
		t.Errorf("got %+v", c)
	}
}

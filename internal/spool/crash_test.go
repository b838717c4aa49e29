package spool

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// TestMain is also the program that TestKill kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_CHILD_DIR"); dir != "" {
		os.Exit(child(dir, os.Getenv("SPOOL_CHILD_RUN")))
	}
	os.Exit(m.Run())
}

// child appends events and says how far it came, until it is killed.
func child(dir, run string) int {
	l, err := Open(Options{Dir: dir, Run: event.Run{ID: run, Boot: "boot"}, SegmentBytes: 1 << 20, MaxBytes: 64 << 20})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for seq := uint64(1); ; seq++ {
		l.Append(seq, payload(run, seq), seq%1000 == 0)
		if seq%50 == 0 {
			fmt.Println(seq)
		}
	}
}

// TestKill kills a writer at no chosen moment, again and again in the same
// directory. Each time everything that it had taken is there or declared lost,
// and the number is exact.
func TestKill(t *testing.T) {
	dir := t.TempDir() // a real disk
	rounds := 15
	if testing.Short() {
		rounds = 3
	}
	lost := uint64(0)
	for i := range rounds {
		run := fmt.Sprint("killed", i)
		c := exec.CommandContext(t.Context(), os.Args[0])
		c.Env = append(os.Environ(), "SPOOL_CHILD_DIR="+dir, "SPOOL_CHILD_RUN="+run)
		c.Stderr = os.Stderr
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		said := uint64(0)
		s := bufio.NewScanner(out)
		for lines := rand.IntN(400); lines >= 0 && s.Scan(); lines-- {
			if said, err = strconv.ParseUint(s.Text(), 10, 64); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for s.Scan() { // what it said before it died
			if n, err := strconv.ParseUint(strings.TrimSpace(s.Text()), 10, 64); err == nil && n > said {
				said = n
			}
		}
		_ = c.Wait() // killed

		var found event.SpoolReport
		l := open(t, Options{Dir: dir, Run: event.Run{ID: fmt.Sprint("after", i)}, SegmentBytes: 64 << 10, MaxBytes: 64 << 20,
			Opened: func(r event.SpoolReport) { found = r }})
		got := readAll(t, l, event.Position{Run: run})
		// The last line may be cut in the middle: a shorter number, never a greater one.
		if all := got.got[run] + got.lost[run]; all < said || got.unsure > 0 || found.Clean || found.AtLeast || found.Lost != got.lost[run] {
			t.Fatalf("round %d: it had said %d, %d are there, %d declared lost; found %+v", i, said, got.got[run], got.lost[run], found)
		}
		if got.reasons[event.LossUnclean]+got.reasons[event.LossQueue] != got.lost[run] {
			t.Fatalf("round %d: reasons %v", i, got.reasons)
		}
		lost += got.lost[run]
		for _, s := range must(listSegments(dir)) {
			var st unix.Stat_t
			if err := unix.Stat(s.path, &st); err != nil || st.Blocks*512 > st.Size+64<<10 {
				t.Fatalf("%s of %d bytes takes %d on disk, %v", s.path, st.Size, st.Blocks*512, err)
			}
		}
	}
	t.Logf("%d events lost in %d kills", lost, rounds)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// mount makes a tmpfs that only this test knows.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("spool-test", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("needs the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestKilledBeforeNumbering: acts that the kernel told of and that the agent had
// not numbered when it was killed are lost by an exact number, if somebody
// counted them, and by an unknown one if nobody did.
func TestKilledBeforeNumbering(t *testing.T) {
	for _, known := range []bool{true, false} {
		files, dir := map[string][]byte{}, memDir(t)
		l := open(t, Options{Dir: dir, Run: event.Run{ID: "a"}})
		l.AppendNotice(1, payload("a", 1))
		fill(l, 2, 20)
		l.AppendNotice(21, payload("a", 21))
		flushed(t, l)
		for _, f := range must(os.ReadDir(dir)) {
			files[f.Name()] = must(os.ReadFile(filepath.Join(dir, f.Name())))
		}
		dead := memDir(t)
		writeDir(t, dead, files)
		adoptHead(t, dead, 21)
		var asked string
		var found event.SpoolReport
		l = open(t, Options{Dir: dead, Run: event.Run{ID: "b"}, Opened: func(r event.SpoolReport) { found = r },
			Acts: func(run string) (uint64, bool) { asked = run; return 21 + 7, known }})
		c := readAll(t, l, event.Position{})
		if asked != "a" || c.got["a"] != 21 || c.lost["a"] != 7 || found.Lost != 7 || found.AtLeast == known {
			t.Errorf("asked for %q, found %+v, got %+v", asked, found, c)
		}
	}
}

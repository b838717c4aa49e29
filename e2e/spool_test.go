package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// diary is an agent whose spool outlives it, on a small disk, and what was made
// in each of its runs.
type diary struct {
	*world
	disk     string // a tmpfs of diskBytes with the spool
	args     []string
	siem     *harness.Consumer
	leave    func() // ends the consumer's connection
	made     uint64 // acts in this run
	runs     []chapter
	spawners map[uint32]string
	exit     string
}

// chapter is one run of the agent.
type chapter struct {
	how     string
	acts    uint64 // that were made
	notices uint64 // that the agent made
}

const diskBytes = 12 << 20

func newDiary(t *testing.T) *diary {
	if inGuest() {
		t.Skip("natively only: guests have the unit tests of the spool")
	}
	backends(t)
	d := &diary{world: newWorld(t, tracepoint), siem: &harness.Consumer{Name: "siem"}, spawners: map[uint32]string{}}
	d.policy(map[string]any{"programs": []string{"/e2e/none"}, "directories": []string{}, "parents": []string{}}, map[string]string{"exec": execPolicy})
	d.exit = d.path("exit")
	d.must(harness.WriteProgram(d.exit, harness.ExitProgram()))
	d.keep, d.disk = d.path("run"), d.path("disk")
	d.must(os.Mkdir(d.keep, 0o700))
	d.must(os.Mkdir(d.disk, 0o700))
	d.must(unix.Mount("bailiff-test", d.disk, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)))
	t.Cleanup(func() {
		if err := unix.Unmount(d.disk, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	d.args = []string{"--spool", filepath.Join(d.disk, "spool"), "--spool-max-bytes", "6291456", "--spool-min-free", "0"}
	return d
}

// begin starts a run.
func (d *diary) begin() {
	d.t.Helper()
	d.startOnly(event.ModeAudit, d.args...)
	d.made = 0
}

// attend and away: the SIEM comes, reading on where it stopped, and goes.
func (d *diary) attend() { d.leave = d.world.attend(d.siem) }

func (d *diary) away() { d.leave() }

// act makes some acts: of n children each one is a fork, an exec and an exit.
func (d *diary) act(n uint32) {
	d.t.Helper()
	name := d.spawners[n]
	if name == "" {
		name = d.path(fmt.Sprint("spawner", n))
		d.must(harness.WriteProgram(name, harness.SpawnProgram(d.exit, n)))
		d.spawners[n] = name
	}
	if o, err := d.actor().Exec(name); err != nil || o.Exit != 0 {
		d.t.Fatalf("spawner: %v, %v", o, err)
	}
	d.made += 3*uint64(n) + 2
}

// end ends the run; the consumer is gone then, too.
func (d *diary) end(how string, kill bool) {
	d.t.Helper()
	if kill {
		d.must(d.agent.Kill())
	} else {
		d.must(d.agent.Stop(d.wait()))
	}
	d.leave()
	_, notices, err := harness.Numbered(filepath.Join(d.keep, "spool.head"))
	d.must(err)
	d.runs = append(d.runs, chapter{how, d.made, notices})
}

// fill takes what is free of the disk.
func (d *diary) fill() {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.disk, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	d.must(err)
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 64<<10))
	}
}

func (d *diary) drain() { d.must(os.Remove(filepath.Join(d.disk, "ballast"))) }

func (d *diary) condition(code string) bool {
	st, err := d.agent.Status(d.wait())
	d.must(err)
	return slices.ContainsFunc(st.Conditions, func(c harness.Condition) bool { return c.Code == code })
}

// settle waits until the consumer has everything of the last run that ended,
// and compares what was made with what was delivered and declared lost.
func (d *diary) settle() {
	d.t.Helper()
	d.begin()
	d.attend()
	var got []harness.RunTally
	err := d.siem.Until(d.wait(), func(runs []harness.RunTally) bool {
		got = runs
		return len(runs) > len(d.runs) && runs[len(runs)-1].Last > 0
	})
	d.must(d.agent.Stop(d.wait()))
	d.leave()
	if err != nil || len(got) != len(d.runs)+1 {
		d.t.Fatalf("received of %d runs, want %d (%v)", len(got), len(d.runs)+1, err)
	}
	got, twice := d.siem.Runs()
	var made, delivered, lost uint64
	for i, want := range d.runs {
		r := &got[i]
		made, delivered, lost = made+want.acts+want.notices, delivered+r.AllActs()+r.Notices, lost+r.AllLost()
		d.t.Logf("run %2d, %-28s %6d acts + %2d notices = %6d acts + %2d notices delivered + %6d declared lost %v",
			i, want.how+":", want.acts, want.notices, r.AllActs(), r.Notices, r.AllLost(), r.Lost)
		if r.AllActs()+r.Notices+r.AllLost() != want.acts+want.notices || r.Holes != 0 || r.AtLeast || r.AllActs() > want.acts {
			d.t.Errorf("run %d (%s) does not add up: %+v", i, want.how, r)
		}
	}
	d.t.Logf("%d runs: %d events made = %d delivered + %d declared lost; %d came twice", len(d.runs), made, delivered, lost, twice)
	if made != delivered+lost {
		d.t.Errorf("%d events made, %d delivered, %d declared lost", made, delivered, lost)
	}
	if left, err := filepath.Glob("/sys/fs/bpf/bailiff/*"); err == nil && len(left) > 0 {
		d.t.Logf("pinned by other agents: %s", strings.Join(left, " "))
	}
}

// cycles are the ways in which a day goes on, by name.
var cycles = []struct {
	how string
	do  func(d *diary, n uint32)
}{
	{"killed while busy", func(d *diary, n uint32) {
		d.act(n)
		d.end("killed while busy", true)
	}},
	{"SIEM away", func(d *diary, n uint32) {
		d.away()
		d.act(n)
		d.attend()
	}},
	{"killed, nothing was read", func(d *diary, n uint32) {
		d.act(n)
		d.must(d.agent.Pause())
		d.act(n)
		d.end("killed, nothing was read", true)
	}},
	{"disk full", func(d *diary, n uint32) {
		d.fill()
		d.act(n)
		d.act(n)
		eventually(d.t, "the agent says that its spool fails", func() bool { return d.condition("spool-failing") })
		d.drain()
		eventually(d.t, "the spool works again", func() bool { return !d.condition("spool-failing") })
		d.act(n)
	}},
	{"restarted, SIEM away", func(d *diary, n uint32) {
		d.away()
		d.act(n)
		d.end("restarted, SIEM away", false)
	}},
	{"killed, disk full, SIEM away", func(d *diary, n uint32) {
		d.away()
		d.fill()
		d.act(n)
		d.act(n)
		d.end("killed, disk full, SIEM away", true)
		d.drain()
	}},
}

// TestNativeCycles goes through days on which everything fails in turn, and
// demands that each event that was made was delivered or declared lost to a
// consumer that reads on where it stopped: exactly, in each run. make bench
// does 50 cycles.
func TestNativeCycles(t *testing.T) {
	n := len(cycles)
	if os.Getenv(envBench) != "" {
		n = 50
	}
	d := newDiary(t)
	start := time.Now()
	d.begin()
	d.attend()
	for i := range n {
		before := len(d.runs)
		cycles[i%len(cycles)].do(d, uint32(200+i*131%3000))
		if len(d.runs) > before {
			d.begin()
			d.attend()
		}
	}
	d.end("stopped", false)
	d.settle()
	t.Logf("%d cycles in %v", n, time.Since(start).Round(time.Second))
}

// TestNativeDamagedSpool: what somebody did to a segment costs what was in it,
// and the consumer hears exactly how much; the rest comes, and verdicts go on.
func TestNativeDamagedSpool(t *testing.T) {
	d := newDiary(t)
	d.begin()
	d.attend()
	d.away() // the name is known, nothing is acknowledged
	d.act(800)
	d.end("stopped, then damaged", false)
	segments, err := filepath.Glob(filepath.Join(d.disk, "spool", "*.seg"))
	if err != nil || len(segments) < 2 {
		t.Fatalf("segments: %v, %v", segments, err)
	}
	b, err := os.ReadFile(segments[0])
	d.must(err)
	for i := len(b) / 3; i < len(b)/2; i += 101 {
		b[i] ^= 0x5a
	}
	d.must(os.WriteFile(segments[0], b, 0o600))
	d.settle()
	runs, _ := d.siem.Runs()
	if r := &runs[0]; r.AllLost() == 0 || r.AllActs() < d.runs[0].acts/2 {
		t.Errorf("of %d acts %d came, lost are %v", d.runs[0].acts, r.AllActs(), r.Lost)
	}
}

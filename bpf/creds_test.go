package bpf

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// credRounds is how often TestCredsHelper becomes somebody else.
const credRounds = 100

// TestCredsHelper is the process that TestCredsReused watches: it opens a file
// without a capability, takes it up again, waits until the kernel has freed the
// credentials without it, gets new ones, which may lie where those did, and opens
// the file again.
func TestCredsHelper(t *testing.T) {
	path := os.Getenv("BAILIFF_TEST_CREDS")
	if path == "" {
		t.Skip("for TestCredsReused")
	}
	runtime.LockOSThread() // credentials are a thread's own
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var with [2]unix.CapUserData
	if err := unix.Capget(&head, &with[0]); err != nil {
		t.Fatal(err)
	}
	without := with
	without[0].Effective &^= 1 << unix.CAP_CHOWN
	become := func(caps *[2]unix.CapUserData) {
		if err := unix.Capset(&head, &caps[0]); err != nil {
			t.Fatal(err)
		}
	}
	open := func() {
		fd, err := unix.Open(path, unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
	}
	for range credRounds {
		become(&without)
		open()
		become(&with)
		time.Sleep(15 * time.Millisecond) // as long as the kernel keeps what nobody has; a longer one does no harm
		become(&with)
		open()
	}
}

// TestCredsReused: what was found for a process does not hold for other
// credentials that come to lie at the same address.
func TestCredsReused(t *testing.T) {
	w := newWorld(t, Options{})
	path := exitProgram(t, t.TempDir()+"/file")
	w.enforce(&ir.Program{Revision: "test", Rules: map[event.Hook][]ir.Rule{event.HookOpen: {{
		Ref: event.RuleRef{ID: "test-caps"}, Verdict: event.VerdictAlert,
		Clauses: []ir.Clause{{When: []ir.Cond{
			{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{path}},
			{Field: event.FieldCaps, Op: ir.OpMaskAny, Mask: event.FlagMask(event.Capabilities, []string{"CHOWN"})},
		}}},
	}}}})
	w.runTest("TestCredsHelper", "BAILIFF_TEST_CREDS", path)
	for i, ev := range w.events(event.HookOpen, credRounds) {
		if ev.Decision.Rule == nil {
			t.Fatalf("open %d: no rule: %+v", i, ev.Decision)
		}
	}
}

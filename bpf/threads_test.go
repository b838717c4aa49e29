package bpf

import (
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Users that the threads of TestThreadsHelper act as, and how often each opens the file.
const (
	threadUsers = 4
	threadOpens = 1500
)

// TestThreadsHelper is the process that TestThreadsOfOtherUsers watches: each of its
// threads has an effective user of its own, and all open the same file at once.
func TestThreadsHelper(t *testing.T) {
	path := os.Getenv("BAILIFF_TEST_THREADS")
	if path == "" {
		t.Skip("for TestThreadsOfOtherUsers")
	}
	var wg sync.WaitGroup
	for i := range threadUsers {
		wg.Go(func() {
			runtime.LockOSThread() // and not unlocked: the thread ends with its user
			// Of this thread only, which libraries do not do.
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(1001+i), ^uintptr(0)); errno != 0 {
				t.Error(errno)
				return
			}
			for range threadOpens {
				fd, err := unix.Open(path, unix.O_RDONLY, 0)
				if err != nil {
					t.Error(err)
					return
				}
				unix.Close(fd)
			}
		})
	}
	wg.Wait()
}

// TestThreadsOfOtherUsers: what is found for one thread of a process is not taken for
// what holds for another that has other credentials, however they come between each other.
func TestThreadsOfOtherUsers(t *testing.T) {
	w := newWorld(t, Options{RingBytes: 16 << 20})
	dir := t.TempDir()
	for d := dir; d != os.TempDir(); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := exitProgram(t, filepath.Join(dir, "file"))
	w.enforce(&ir.Program{Revision: "test", Rules: map[event.Hook][]ir.Rule{event.HookOpen: {{
		Ref: event.RuleRef{ID: "test-odd"}, Verdict: event.VerdictAlert,
		Clauses: []ir.Clause{{When: []ir.Cond{
			{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{path}},
			{Field: event.FieldEUID, Op: ir.OpIn, Nums: []uint64{1001, 1003}},
		}}},
	}}}})
	w.runTest("TestThreadsHelper", "BAILIFF_TEST_THREADS", path)
	alerts := map[uint32]int{}
	for range 2 * threadOpens {
		ev := w.events(event.HookOpen, 1)[0]
		if ev.Decision.Rule == nil {
			t.Fatalf("an open by user %d is told for no rule: %+v", ev.Process.EUID, ev.Decision)
		}
		alerts[ev.Process.EUID]++
	}
	if alerts[1001] != threadOpens || alerts[1003] != threadOpens {
		t.Errorf("alerts by user: %v, want %d each of 1001 and 1003", alerts, threadOpens)
	}
}

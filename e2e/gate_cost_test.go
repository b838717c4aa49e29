package e2e

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// bareGate lets every exec on a filesystem pass and does nothing else: what any
// gate costs at the least. It returns the function that ends it.
func bareGate(t *testing.T, at string) func() uint64 {
	t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC|unix.FAN_NONBLOCK, unix.O_RDONLY|unix.O_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, unix.FAN_OPEN_EXEC_PERM, unix.AT_FDCWD, at); err != nil {
		t.Fatal(err)
	}
	r, stop, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan uint64)
	go func() {
		runtime.LockOSThread()
		var m unix.FanotifyEventMetadata
		b := unsafe.Slice((*byte)(unsafe.Pointer(&m)), unsafe.Sizeof(m))
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(r.Fd()), Events: unix.POLLIN}}
		var n uint64
		for {
			if _, err := unix.Poll(fds, -1); err == nil && fds[1].Revents != 0 {
				unix.Close(fd)
				r.Close()
				ended <- n
				return
			}
			if _, err := unix.Read(fd, b); err != nil {
				continue
			}
			answer := unix.FanotifyResponse{Fd: m.Fd, Response: unix.FAN_ALLOW}
			_, _ = unix.Write(fd, unsafe.Slice((*byte)(unsafe.Pointer(&answer)), unsafe.Sizeof(answer)))
			unix.Close(int(m.Fd))
			n++
		}
	}()
	return func() uint64 {
		stop.Close()
		return <-ended
	}
}

// TestGateCost: an exec that is held until OPA has answered, against one that a
// bare responder lets pass: fork, exec and exit of a static program, the median
// of turns taken in one run.
func TestGateCost(t *testing.T) {
	if os.Getenv(envBench) == "" || inGuest() {
		t.Skip("a measurement: make bench")
	}
	backends(t)
	const turns, spawns = 9, 1000
	for _, tt := range []struct{ policy, program string }{
		{"answer known by key", "busybox true"}, {"OPA asked each time", "busybox true"},
		{"answer known by key", "the smallest program"}, {"OPA asked each time", "the smallest program"},
	} {
		t.Run(tt.policy+", "+tt.program, func(t *testing.T) {
			policy := tt.policy
			w, held := newGate(t, tracepoint, "allow")
			if strings.HasPrefix(policy, "answer") {
				text, _, _ := strings.Cut(strings.ReplaceAll(gatePolicy, "%s", "allow"), "\n# METADATA\n# title: The answer")
				w.policy(map[string]any{"held": held + "/"}, map[string]string{"exec": text})
			}
			exit := filepath.Join(held, "true")
			if tt.program == "busybox true" {
				w.must(copyFile(w.staticTrue(), exit))
			} else {
				w.must(harness.WriteProgram(exit, harness.ExitProgram()))
			}
			spawner := w.spawner(exit, spawns)
			run := func() time.Duration {
				start := time.Now()
				if o, err := w.actor().Exec(spawner); err != nil || o.Exit != 0 {
					t.Fatalf("spawner: %v, %v", o, err)
				}
				return time.Since(start) / spawns
			}
			var took [3][]time.Duration // nobody, bare responder, agent
			for range turns {
				took[0] = append(took[0], run())
				end := bareGate(t, held)
				took[1] = append(took[1], run())
				if n := end(); n < spawns {
					t.Fatalf("the bare responder answered %d times", n)
				}
				w.start(event.ModeEnforce, "--gate-mount", held)
				_ = w.stream.Close()
				took[2] = append(took[2], run())
				s, err := w.agent.Status(w.wait())
				w.must(err)
				if c := s.Counters; c["gate_allowed"] < spawns {
					t.Fatalf("%d execs were held and let pass", c["gate_allowed"])
				} else if len(took[2]) == 1 {
					t.Logf("OPA was asked %d times about %d execs", c["held_evaluations"], c["gate_allowed"])
				}
				w.must(w.agent.Stop(w.wait()))
			}
			for i := range took {
				slices.Sort(took[i])
			}
			t.Logf("%s, %s: not held %v, bare responder %v, agent %v: %.2f times the bare responder",
				policy, tt.program, took[0][turns/2], took[1][turns/2], took[2][turns/2], float64(took[2][turns/2])/float64(took[1][turns/2]))
		})
	}
}

package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"example.com/bailiff/internal/event"
)

const ptracePolicy = `package bailiff.open

# METADATA
# custom: {id: e2e-attach}
deny contains sprintf("%d", [input.target.pid]) if {
	input.hook == "ptrace"
	input.process.euid == 0
	not "descendant" in input.target.traits
}

# METADATA
# custom: {id: e2e-write}
deny contains "program written" if {
	input.file.path == data.e2e.program
	"write" in input.open.flags
}
`

// TestPtrace shows that whatever takes the memory of another process asks the
// rules, and that looking at it does not.
func TestPtrace(t *testing.T) {
	refusing(t, testAttaching)
}

func testAttaching(t *testing.T, backend string, mode event.Mode) {
	w := newWorld(t, backend)
	self, err := os.Executable()
	w.must(err)
	w.policy(map[string]any{"program": self}, map[string]string{"open": ptracePolicy})
	w.start(mode)
	// The actor's parent is this process: it is not below the actor.
	pid := fmt.Sprint(os.Getpid())
	for _, tt := range []struct {
		name, rule string
		steps      [][]string
	}{
		{"memory for reading", "e2e-attach", steps([]string{"open", "/proc/" + pid + "/mem"})},
		{"memory for writing", "e2e-attach", steps([]string{"open", "/proc/" + pid + "/mem", "rw"})},
		{"process_vm_readv", "e2e-attach", steps([]string{"vmread", pid})},
		{"seize", "e2e-attach", steps([]string{"ptrace", pid})},
		{"status", "", steps([]string{"open", "/proc/" + pid + "/status"}, []string{"open", "/proc/" + pid + "/environ"})},
		{"itself", "", steps([]string{"open", "/proc/self/mem"})},
	} {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			w := w.in(t)
			o, events := w.do(w.actor(), tt.steps...)
			want, effect := promised(tt.rule, mode)
			// An open of /proc/PID/mem that is refused says EACCES.
			if got := o.Last(); got != want && (want == 0 || got != syscall.EACCES) {
				t.Errorf("got %v, want errno %d", o, want)
			}
			if tt.rule == "" {
				if e := anyDenial(events); e != nil {
					t.Errorf("denied on record: %s", show(e))
				}
				return
			}
			found := denials(events, event.HookPtrace, tt.rule)
			if len(found) == 0 {
				t.Fatalf("no event of the denial: %v", findings(events))
			}
			e := found[0]
			if e.Decision.Effect != effect || e.Decision.Mode != mode || e.File == nil || e.File.Path != self ||
				e.Target == nil || int(e.Target.PID) != os.Getpid() || e.Decision.Message != pid || len(e.Open) != 0 {
				t.Errorf("event is %s, want effect %v in mode %v", show(e), effect, mode)
			}
		})
	}
	w.stop()
}

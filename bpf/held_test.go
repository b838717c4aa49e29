package bpf

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// heldProgram denies, by the gate's answer, what has the name; the answer rests
// on reads.
func heldProgram(name string, reads ...string) *ir.Program {
	return &ir.Program{Revision: "held", Rules: map[event.Hook][]ir.Rule{event.HookExec: {{
		Ref: event.RuleRef{ID: "held"}, Verdict: event.VerdictDeny, Hold: true,
		Clauses: []ir.Clause{{When: []ir.Cond{{Field: event.FieldName, Op: ir.OpIn, Strs: []string{name}}}, Maybe: true, Reads: reads}},
	}}}}
}

// TestHeldVerdict: the hook takes the gate's verdict under the key that the gate
// made, only while the file and its whole path are what was judged; and one that
// has no key once.
func TestHeldVerdict(t *testing.T) {
	for _, c := range []struct {
		name, reads string
		keyed       bool
	}{{"by key", "file.path", true}, {"for one exec", "process.comm", false}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, Options{})
			dir := filepath.Join(t.TempDir(), "above")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			prog := filepath.Join(dir, "guilty")
			if err := harness.WriteProgram(prog, harness.ExitProgram()); err != nil {
				t.Fatal(err)
			}
			gen := w.enforce(heldProgram("guilty", c.reads))

			// The process that asks, and that executes when it is told to.
			waits := exec.Command("/bin/sh", "-c", "echo; read x; exec "+prog)
			waits.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(w.dir.Fd())}
			tell, err := waits.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			runs, err := waits.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := waits.Start(); err != nil {
				t.Fatal(err)
			}
			// Start returns a moment before the shell is the process's program.
			if _, err := runs.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			remember := func(v event.Verdict) {
				t.Helper()
				f, err := os.Open(prog)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				ev, key, err := w.k.AtGate(gen, int(f.Fd()), int32(waits.Process.Pid))
				if err != nil || ev == nil || (key != nil) != c.keyed {
					t.Fatalf("AtGate: %v, key %v: %v", ev, key, err)
				}
				if ev.File.Path != prog || ev.Process.PID != int32(waits.Process.Pid) {
					t.Errorf("AtGate describes %s by %d", ev.File.Path, ev.Process.PID)
				}
				if err := w.k.RememberHeld(gen, ev, v, false); err != nil {
					t.Fatal(err)
				}
			}
			killed := func(path string) bool {
				t.Helper()
				st, _ := w.run(path)
				return st != nil && st.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
			}
			count := func(name string) uint64 {
				t.Helper()
				all, err := w.k.Counters()
				if err != nil {
					t.Fatal(err)
				}
				return all[name]
			}
			remember(event.VerdictDeny)
			if c.keyed {
				for range 2 { // a verdict is not used up
					if !killed(prog) {
						t.Error("the verdict was not found")
					}
				}
				above := filepath.Join(filepath.Dir(dir), "renamed")
				if err := os.Rename(dir, above); err != nil {
					t.Fatal(err)
				}
				if killed(filepath.Join(above, "guilty")) {
					t.Error("a verdict about a path outlived the rename of a directory above")
				}
				if err := os.Rename(above, dir); err != nil {
					t.Fatal(err)
				}
				if !killed(prog) {
					t.Error("the verdict was not found again")
				}
				before := count("held_changed")
				if err := os.Chmod(prog, 0o700); err != nil {
					t.Fatal(err)
				}
				if killed(prog) || count("held_changed") != before+1 {
					t.Error("a verdict outlived a change of the file")
				}
				remember(event.VerdictDeny)
			} else if killed(prog) {
				t.Error("another process took the verdict")
			}
			if _, err := tell.Write([]byte("\n")); err != nil {
				t.Fatal(err)
			}
			if _ = waits.Wait(); waits.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Errorf("the process that asked got %v", waits.ProcessState)
			}
		})
	}
}

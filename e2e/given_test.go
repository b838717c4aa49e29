package e2e

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// Arguments and environment are tested in ways that no kernel table has.
const givenPolicy = `package bailiff.exec

# METADATA
# custom: {id: e2e-given, undecided: hold, deadline: deny}
deny contains {"message": sprintf("given %s", [concat(" ", input.args)])} if {
	startswith(input.file.path, data.e2e.held)
	contains(concat(" ", input.args), "--mode evil")
}

# METADATA
# custom: {id: e2e-given-env, undecided: hold}
deny contains "variable" if {
	startswith(input.file.path, data.e2e.held)
	lower(input.env.E2E_MODE) == "evil"
}

# METADATA
# custom: {id: e2e-given-cwd, undecided: hold, deadline: deny}
deny contains "directory" if {
	startswith(input.file.path, data.e2e.held)
	endswith(input.cwd, "/forbidden")
}

# METADATA
# custom: {id: e2e-given-script, undecided: hold, deadline: deny}
deny contains "script" if {
	startswith(input.file.path, data.e2e.held)
	endswith(input.script, "/forbidden.sh")
}

# METADATA
# custom: {id: e2e-commit}
deny contains "first" if {
	startswith(input.file.path, data.e2e.held)
	input.args[1] == "never"
}
`

// TestGiven: a rule that reads arguments or environment in a way that the kernel does not
// know has its verdict before the exec, about what the new image gets.
func TestGiven(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		w, held := newGate(t, backend, "deny")
		w.policy(map[string]any{"held": held + "/"}, map[string]string{"exec": givenPolicy})
		in := func(elem ...string) string { return filepath.Join(append([]string{held}, elem...)...) }
		prog, marker := w.program(in("prog"))
		w.write(in("script"), []byte("#!"+prog+" --mode\n"), 0o755)
		w.write(in("evil"), []byte("#!"+prog+" \t--mode evil \n"), 0o755)
		w.write(in("sh-less"), []byte("#!/prog\n"), 0o755)
		w.write(in("nested"), []byte("#!"+in("script")), 0o755)
		w.write(in("sh"), []byte("#!/bin/sh\n: > "+marker+"\nexit 42\n"), 0o755)
		// Nobody is asked about these, but about what they are run by.
		w.write(w.path("outside"), []byte("#!"+prog+" --mode\n"), 0o755)
		w.write(w.path("outside-evil"), []byte("#!"+prog+" --mode evil\n"), 0o755)
		w.write(w.path("forbidden.sh"), []byte("#!"+prog+"\n"), 0o755)
		w.write(w.path("nested.sh"), []byte("#!"+w.path("forbidden.sh")+"\n"), 0o755)
		w.must(os.Mkdir(w.path("forbidden"), 0o755))
		w.start(event.ModeEnforce, "--gate-mount", held)

		try := func(name, rule string, source event.Source, steps ...[]string) {
			t.Run(name, func(t *testing.T) {
				w := w.in(t)
				o, events := w.do(w.actor(), steps...)
				if rule == "" {
					if o.Exit != harness.MarkerExit || !ran(marker) {
						t.Errorf("got %v, ran: %v", o, ran(marker))
					}
					if e := anyDenial(events); e != nil {
						t.Errorf("denied: %s", show(e))
					}
					w.must(os.RemoveAll(marker))
					return
				}
				if ran(marker) {
					t.Error("it ran")
				}
				found := told(t, w, o, rule)
				want := event.EffectRefused
				if source == event.SourceTable {
					want = event.EffectKilled
				} else if o.Last() != syscall.EPERM {
					t.Errorf("got %v", o)
				}
				if d := found.Decision; d.Source != source || d.Effect != want || d.Divergence || d.Undecided {
					t.Errorf("got %s", show(found))
				}
			})
		}
		gate := event.SourceGate
		try("allowed", "", 0, []string{"exec", prog, "--mode", "good"})
		try("none", "", 0, []string{"exec", prog})
		try("refused", "e2e-given", gate, []string{"exec", prog, "--mode", "evil"})
		try("again", "e2e-given", gate, []string{"exec", prog, "--mode", "evil"})
		try("other arguments", "", 0, []string{"exec", prog, "--mode", "Evil"})
		try("by descriptor", "e2e-given", gate, []string{"fexec", prog, "--mode", "evil"})
		try("from a thread", "e2e-given", gate, []string{"thread", "exec", prog, "--mode", "evil"})
		try("long", "", 0, []string{"exec", prog, strings.Repeat("x", 100_000)})
		try("at the end of much", "e2e-given", gate, []string{"exec", prog, strings.Repeat("x", 100_000), "--mode", "evil"})
		try("script", "e2e-given", gate, []string{"exec", in("evil"), "x"})
		try("script allowed", "", 0, []string{"exec", in("script"), "evil"})
		try("script that is run by one", "", 0, []string{"exec", in("nested"), "x"})
		try("script that is not held", "", 0, []string{"exec", w.path("outside"), "evil"})
		try("interpreter of a script that is not held", "e2e-given", gate, []string{"exec", w.path("outside-evil"), "x"})
		try("relative script", "", 0, []string{"chdir", w.dir}, []string{"exec", "./outside", "evil"})
		try("script of a descriptor", "e2e-given", gate, []string{"fexec", in("evil"), "x"})
		try("script of a shell", "", 0, []string{"exec", in("sh"), "x"})
		try("shell told what", "e2e-given", gate, []string{"exec", in("sh"), "--mode", "evil"})
		try("variable", "e2e-given-env", gate, []string{"env", "A=b\nE2E_MODE=EVIL", prog, "--mode"})
		try("variable allowed", "", 0, []string{"env", "A=b\nE2E_MODE=GOOD", prog, "--mode"})
		try("directory", "e2e-given-cwd", gate, []string{"chdir", w.path("forbidden")}, []string{"exec", prog})
		try("directory allowed", "", 0, []string{"chdir", held}, []string{"exec", prog})
		try("of a forbidden script", "e2e-given-script", gate, []string{"exec", w.path("forbidden.sh")})
		try("of a script that is run by one", "", 0, []string{"exec", w.path("nested.sh")}) // input.script is the first
		try("at commit", "e2e-commit", event.SourceTable, []string{"exec", prog, "never"})

		t.Run("script in a chroot", func(t *testing.T) {
			w := w.in(t)
			o, events := w.do(w.actor(), []string{"chroot", held}, []string{"exec", "/sh-less"})
			if e := anyDenial(events); o.Exit != harness.MarkerExit || e != nil { // its marker would be elsewhere
				t.Errorf("got %v", o)
			}
		})
		// More than anybody looks at is not decided: the first rule that may hold says
		// what happens.
		t.Run("too much", func(t *testing.T) {
			w := w.in(t)
			o, _ := w.do(w.actor(), append([]string{"exec", prog}, slices.Repeat([]string{strings.Repeat("x", 65_000)}, 3)...))
			if o.Last() != syscall.EPERM || ran(marker) {
				t.Errorf("got %v", o)
			}
			if e := told(t, w, o, "e2e-given"); e.Decision.Source != event.SourceDefault || !e.Decision.Undecided {
				t.Errorf("got %s", show(e))
			}
		})
		// What is judged may be changed before it is copied, and after it was. Then it is
		// not run, or it is what was judged.
		t.Run("changed meanwhile", func(t *testing.T) {
			w := w.in(t)
			ctx := w.wait()
			another := func() uint64 {
				s, err := w.agent.Status(ctx)
				w.must(err)
				return s.Counters["kernel_held_given_another"]
			}
			for n := 0; another() == 0; n++ {
				if n == 300 {
					if runtime.NumCPU() > 1 {
						t.Fatal("never seen to be changed")
					}
					t.Log("never seen to be changed: one processor does one thing at a time")
					break
				}
				_, events := w.do(w.actor(), []string{"flip", prog, "--mode good", "--mode evil"})
				for _, e := range events {
					if e.Hook == event.HookExec && e.File.Path == prog && e.Exec != nil && e.Decision.Effect == event.EffectNone && slices.Contains(e.Exec.Args, "--mode evil") {
						t.Fatalf("it ran: %s", show(e))
					}
				}
			}
			w.must(os.RemoveAll(marker))
		})
		w.stop()
	})
}

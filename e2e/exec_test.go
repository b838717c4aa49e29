package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

const execPolicy = `package bailiff.exec

# METADATA
# title: A denied program is run
# custom: {id: e2e-program, severity: high, attack: [T1204]}
deny contains {"message": sprintf("%s ran %s", [input.process.exe.path, input.file.path])} if {
	input.file.path in data.e2e.programs
}

# METADATA
# title: A program below a denied directory is run
# custom: {id: e2e-directory}
deny contains {"message": "directory"} if {
	some dir in data.e2e.directories
	startswith(input.file.path, dir)
}

# METADATA
# title: A program that is only in memory is run
# custom: {id: e2e-memory}
deny contains {"message": "memory"} if {
	"memory_backed" in input.file.traits
	"unlinked" in input.file.traits
}

# METADATA
# title: A program is run under a denied one
# custom: {id: e2e-under}
deny contains {"message": "under"} if {
	input.file.name == "not-under-parent"
	some a in input.process.ancestors
	a in data.e2e.parents
}

# METADATA
# title: A program is run by a denied one
# custom: {id: e2e-by}
deny contains {"message": "by"} if {
	input.file.name == "not-by-parent"
	input.process.exe.path in data.e2e.parents
}

# METADATA
# title: A user runs what is not for it
# custom: {id: e2e-user}
deny contains {"message": "user"} if {
	input.process.uid == 4242
	input.file.name == "not-for-4242"
}

# METADATA
# title: A user runs what would make another of it
# custom: {id: e2e-caller}
deny contains {"message": "caller"} if {
	input.process.euid == 4242
	input.file.name == "set-id"
}
`

// launch is one way to run a program. Each has a directory d of its own, in
// which d/prog is a denied marker program, d/plain one that is not denied,
// d/nobin/ a denied directory and d/parent a program that the policy names as
// parent.
type launch struct {
	name  string
	rule  string // the rule that must deny; "" means that the program must run
	prep  func(w *world, d string)
	late  func(w *world, d string)
	early bool                                   // only hooks before the point of no return see it: afterwards a script, and who the caller was, are gone
	told  func(t *testing.T, e *event.Event)     // checks the record of the denial, where the program ran
	actor func(w *world, d string) harness.Actor // nil: w.actor
	steps func(d string) [][]string              // the last one runs the program in place of the act program
}

func launches() []launch {
	in := filepath.Join
	exec := func(name string) func(d string) [][]string {
		return func(d string) [][]string { return steps([]string{"exec", in(d, name)}) }
	}
	copyOf := func(name, to string) func(w *world, d string) {
		return func(w *world, d string) { w.must(copyFile(in(d, name), in(d, to))) }
	}
	moved := func(name, to string) func(w *world, d string) {
		return func(w *world, d string) { w.renamed(in(d, name), in(d, to)) }
	}
	return []launch{
		{name: "direct", rule: "e2e-program", steps: exec("prog")},
		{name: "from a thread", rule: "e2e-program", steps: func(d string) [][]string { return steps([]string{"thread", "exec", in(d, "prog")}) }},
		{name: "relative", rule: "e2e-program", steps: func(d string) [][]string { return steps([]string{"chdir", d}, []string{"exec", "./prog"}) }},
		{name: "symlink", rule: "e2e-program",
			prep: func(w *world, d string) { w.must(os.Symlink("prog", in(d, "sym"))) }, steps: exec("sym")},
		{name: "hard link of before", rule: "e2e-program",
			prep: func(w *world, d string) { w.must(os.Link(in(d, "prog"), in(d, "hard"))) }, steps: exec("hard")},
		{name: "hard link", rule: "e2e-program", steps: func(d string) [][]string {
			return steps([]string{"link", in(d, "prog"), in(d, "hard")}, []string{"exec", in(d, "hard")})
		}},
		{name: "renamed", rule: "e2e-program", steps: func(d string) [][]string {
			return steps([]string{"rename", in(d, "prog"), in(d, "moved")}, []string{"exec", in(d, "moved")})
		}},
		{name: "renamed and looked for", rule: "e2e-program", late: moved("prog", "moved"), steps: exec("moved")},
		{name: "bind mount", rule: "e2e-program", steps: func(d string) [][]string {
			return steps([]string{"unshare"}, []string{"bind", in(d, "prog"), in(d, "plain")}, []string{"exec", in(d, "plain")})
		}},
		{name: "chroot", rule: "e2e-program", steps: func(d string) [][]string {
			return steps([]string{"chroot", d}, []string{"exec", "/prog"})
		}},
		{name: "proc self root", rule: "e2e-program", steps: func(d string) [][]string { return steps([]string{"exec", "/proc/self/root" + in(d, "prog")}) }},
		{name: "descriptor", rule: "e2e-program", steps: func(d string) [][]string { return steps([]string{"fexec", in(d, "prog")}) }},
		{name: "replaced by rename", rule: "e2e-program",
			late: func(w *world, d string) {
				w.must(copyFile(in(d, "prog"), in(d, "new")))
				w.must(os.Rename(in(d, "new"), in(d, "prog")))
			}, steps: exec("prog")},
		{name: "below a directory", rule: "e2e-directory",
			prep: copyOf("plain", "nobin/a"), steps: exec("nobin/a")},
		{name: "late below a directory", rule: "e2e-directory",
			late: copyOf("plain", "nobin/late"), steps: exec("nobin/late")},
		{name: "directory renamed and looked for", rule: "e2e-directory",
			prep: copyOf("plain", "nobin/a"), late: moved("nobin", "bin"), steps: exec("bin/a")},
		{name: "from memory", rule: "e2e-memory", steps: func(d string) [][]string { return steps([]string{"memfd", in(d, "plain")}) }},
		{name: "script", rule: "e2e-program", early: true,
			prep: func(w *world, d string) {
				w.must(os.Rename(in(d, "prog"), in(d, "interpreter")))
				w.write(in(d, "prog"), []byte("#!"+in(d, "interpreter")+"\n"), 0o755)
			}, steps: exec("prog")},
		{name: "interpreter", rule: "e2e-program",
			prep: func(w *world, d string) {
				w.write(in(d, "script"), []byte("#!"+in(d, "prog")+"\n"), 0o755)
			}, steps: exec("script")},
		{name: "by a denied program", rule: "e2e-by",
			prep:  copyOf("plain", "not-by-parent"),
			actor: func(w *world, d string) harness.Actor { a := w.actor(); a.Program = in(d, "parent"); return a },
			steps: exec("not-by-parent")},
		{name: "under a denied program", rule: "e2e-under",
			prep:  copyOf("plain", "not-under-parent"),
			actor: func(w *world, d string) harness.Actor { a := w.actor(); a.Program = in(d, "parent"); return a },
			// The act program becomes another, innocent copy of itself below the denied one.
			steps: func(d string) [][]string {
				return steps([]string{"become", in(d, "innocent"), "exec", in(d, "not-under-parent")})
			}},
		{name: "after a change of user", rule: "e2e-user",
			prep: copyOf("plain", "not-for-4242"),
			steps: func(d string) [][]string {
				return steps([]string{"setuid", "4242"}, []string{"exec", in(d, "not-for-4242")})
			}},
		{name: "by who becomes another", rule: "e2e-caller", early: true,
			prep: func(w *world, d string) {
				w.must(copyFile(in(d, "plain"), in(d, "set-id")))
				w.must(os.Chown(in(d, "set-id"), 4243, 4243))
				w.must(os.Chmod(in(d, "set-id"), os.ModeSetuid|0o755))
			},
			steps: func(d string) [][]string {
				return steps([]string{"setuid", "4242"}, []string{"exec", in(d, "set-id")})
			},
			told: func(t *testing.T, e *event.Event) {
				if c := e.Exec.Creds; e.Process.EUID != 4242 || c == nil || c.EUID != 4243 || e.Decision.Divergence {
					t.Errorf("told of user %d, new image %+v, divergence %v", e.Process.EUID, c, e.Decision.Divergence)
				}
			}},

		{name: "not denied", steps: exec("plain")},
		{name: "not denied from a thread", steps: func(d string) [][]string { return steps([]string{"thread", "exec", in(d, "plain")}) }},
		{name: "not denied by descriptor", steps: func(d string) [][]string { return steps([]string{"fexec", in(d, "plain")}) }},
		{name: "same name elsewhere", prep: func(w *world, d string) {
			w.must(os.Mkdir(in(d, "other"), 0o755))
			w.must(copyFile(in(d, "prog"), in(d, "other/prog")))
		}, steps: exec("other/prog")},
		{name: "by another program", prep: copyOf("plain", "not-by-parent"), steps: exec("not-by-parent")},
		{name: "another user", prep: copyOf("plain", "not-for-4242"),
			steps: func(d string) [][]string {
				return steps([]string{"setuid", "4243"}, []string{"exec", in(d, "not-for-4242")})
			}},
	}
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

// TestExec shows that a denied program does not run, by whatever way it is
// started: with EPERM, or killed before its first instruction. Each program's
// first system call leaves a marker, which must not be there.
func TestExec(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for _, mode := range modesOf(backend) {
			t.Run(mode.String(), func(t *testing.T) { testLaunches(t, backend, mode) })
		}
	})
}

func testLaunches(t *testing.T, backend string, mode event.Mode) {
	w := newWorld(t, backend)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	all := launches()
	dirs := make([]string, len(all))
	var programs, directories, parents []string
	for i, l := range all {
		d := w.path(strings.ReplaceAll(l.name, " ", "-"))
		dirs[i] = d
		marker := harness.MarkerProgram(filepath.Join(d, "marker"))
		// A chroot has no path to the marker outside of it.
		if l.name == "chroot" {
			marker = harness.MarkerProgram("/marker")
		}
		w.must(os.MkdirAll(filepath.Join(d, "nobin"), 0o755))
		w.must(os.Chmod(d, 0o777)) // markers are left by other users too
		w.write(filepath.Join(d, "prog"), marker, 0o755)
		w.write(filepath.Join(d, "plain"), marker, 0o755)
		if l.actor != nil {
			for _, name := range []string{"parent", "innocent"} {
				w.must(copyFile(self, filepath.Join(d, name)))
			}
		}
		if l.prep != nil {
			l.prep(w, d)
		}
		programs = append(programs, filepath.Join(d, "prog"))
		directories = append(directories, filepath.Join(d, "nobin")+"/")
		parents = append(parents, filepath.Join(d, "parent"))
	}
	w.policy(map[string]any{"programs": programs, "directories": directories, "parents": parents}, map[string]string{"exec": execPolicy})
	w.start(mode)
	for i, l := range all {
		t.Run(strings.ReplaceAll(l.name, " ", "-"), func(t *testing.T) {
			w := w.in(t)
			if l.early && !refuses(backend) {
				t.Skip("the " + backend + " backend judges what the exec has led to")
			}
			if l.late != nil {
				l.late(w, dirs[i])
			}
			a := w.actor()
			if l.actor != nil {
				a = l.actor(w, dirs[i])
			}
			o, events := w.do(a, l.steps(dirs[i])...)
			w.checkLaunch(l.rule, mode, o, events)
			if l.told != nil && mode == event.ModeAudit && !t.Failed() {
				found := denials(events, event.HookExec, l.rule)
				l.told(t, found[len(found)-1])
			}
			_, err := os.Stat(filepath.Join(dirs[i], "marker"))
			if ran := err == nil; ran != (l.rule == "" || mode == event.ModeAudit) {
				t.Errorf("the program ran: %v", ran)
			}
		})
	}
	w.stop()
}

// checkLaunch checks what the act program met and what is on record.
func (w *world) checkLaunch(rule string, mode event.Mode, o *harness.Outcome, events []*event.Event) {
	w.t.Helper()
	effect := event.EffectNone
	switch {
	case rule == "" || mode == event.ModeAudit:
		if o.Exit != harness.MarkerExit {
			w.t.Errorf("got %v, want the program to run", o)
		}
	case refuses(w.backend):
		effect = event.EffectRefused
		if o.Last() != syscall.EPERM {
			w.t.Errorf("got %v, want EPERM", o)
		}
	default:
		effect = event.EffectKilled
		if o.Signal != syscall.SIGKILL {
			w.t.Errorf("got %v, want it killed", o)
		}
	}
	if rule == "" {
		if e := anyDenial(events); e != nil {
			w.t.Errorf("denied on record: %s", show(e))
		}
		return
	}
	found := denials(events, event.HookExec, rule)
	if len(found) == 0 {
		w.t.Fatalf("no event of the denial among %d", len(events))
	}
	if d := found[len(found)-1].Decision; d.Effect != effect || d.Mode != mode || d.Revision == "" || d.Divergence {
		w.t.Errorf("decision is %+v, want effect %v in mode %v", d, effect, mode)
	}
}

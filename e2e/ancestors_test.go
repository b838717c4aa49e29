package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

const ancestorsPolicy = `package bailiff.exec

# METADATA
# title: Not all that is above is known
# custom: {id: e2e-strange-ancestor}
deny contains "strange" if {
	input.file.name == "guarded"
	not each_known
}

each_known if {
	every a in input.process.ancestors {
		known(a)
	}
}

known(a) if a in data.e2e.known

known(a) if strings.any_prefix_match(a, data.e2e.directories)

# METADATA
# custom: {id: e2e-other-name}
deny contains "names a program otherwise" if {
	input.file.path in data.e2e.named
	input.process.uid == 4242
}

# METADATA
# title: In a shell that somebody sits before
# custom: {id: e2e-interactive}
deny contains "interactive" if {
	input.file.name == "not-interactively"
	input.process.shell != ""
	input.process.tty != 0
}

# METADATA
# title: In this shell
# custom: {id: e2e-in-shell}
deny contains "in this shell" if {
	input.file.name == "not-in-this-shell"
	input.process.shell == data.e2e.shell
}
`

// lineage is a program that is run below others.
type lineage struct {
	name string
	rule string     // the rule that must deny; "": it runs
	run  string     // the program
	by   [][]string // what the act program becomes before that, one after another; "tty": in a terminal
}

func lineages(links []string) []lineage {
	become := func(names ...string) (out [][]string) {
		for _, n := range names {
			out = append(out, []string{n})
		}
		return out
	}
	return []lineage{
		{"all known", "", "guarded", become("friend", "worker")},
		{"a stranger among them", "e2e-strange-ancestor", "guarded", become("friend", "stranger", "worker")},
		{"the stranger itself", "", "guarded", become("friend", "stranger")},
		{"below a directory", "", "guarded", become("trusted/any", "worker")},
		{"known by its other name", "", "guarded", become("alias", "worker")},
		{"a stranger that fell off the list", "e2e-strange-ancestor", "guarded", append(become("stranger"), become(links...)...)},
		{"known ones that fell off the list", "", "guarded", append(become("friend"), become(links...)...)},

		{"shell without a terminal", "", "not-interactively", become("sh1", "worker")},
		{"below a shell with a terminal", "e2e-interactive", "not-interactively", append([][]string{{"tty", "sh1"}}, become("worker")...)},
		{"by a shell with a terminal", "e2e-interactive", "not-interactively", [][]string{{"tty", "sh2"}}},
		{"terminal without a shell", "", "not-interactively", [][]string{{"tty", "worker"}}},
		{"below this shell", "e2e-in-shell", "not-in-this-shell", become("sh1", "worker")},
		{"by this shell", "e2e-in-shell", "not-in-this-shell", become("sh1")},
		{"below another shell that is below it", "", "not-in-this-shell", become("sh1", "sh2", "worker")},
		{"below it again", "e2e-in-shell", "not-in-this-shell", become("sh1", "worker", "sh2", "sh1", "worker")},
		{"far below it", "e2e-in-shell", "not-in-this-shell", append(become("sh1"), become(links...)...)},
	}
}

// TestAncestors: what each program above a process is, and which shell is the nearest,
// decides whether it may run a program. The shells are a list of the bundle's, in which
// one is behind a link.
func TestAncestors(t *testing.T) {
	eachBackendOnce(t, func(t *testing.T, backend string) {
		for _, mode := range modesOf(backend) {
			t.Run(mode.String(), func(t *testing.T) { testLineages(t, backend, mode) })
		}
	})
}

func testLineages(t *testing.T, backend string, mode event.Mode) {
	w := newWorld(t, backend)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w.must(os.MkdirAll(w.path("trusted"), 0o755))
	for _, name := range []string{"friend", "worker", "alias", "sh1", "sh2"} {
		w.must(copyFile(self, w.path(name)))
	}
	// Links of a program that no rule names are programs of their own.
	links := make([]string, 18)
	names := []string{"stranger", "trusted/any"}
	for i := range links {
		links[i] = fmt.Sprintf("trusted/link%d", i)
		names = append(names, links[i])
	}
	w.must(copyFile(self, w.path("base")))
	for _, name := range names {
		w.must(os.Link(w.path("base"), w.path(name)))
	}
	w.must(os.Link(w.path("alias"), w.path("alias2")))
	w.must(os.Symlink("sh2", w.path("link-to-sh2")))
	all := lineages(links)
	for i := range all {
		d := w.path(strings.ReplaceAll(all[i].name, " ", "-"))
		w.must(os.MkdirAll(d, 0o777))
		w.write(filepath.Join(d, all[i].run), harness.MarkerProgram(filepath.Join(d, "marker")), 0o755)
	}
	above := w.programsAbove()
	w.policy(map[string]any{
		"known":       append(slices.Clone(above), w.path("friend"), w.path("worker"), w.path("alias2")),
		"directories": []string{w.path("trusted") + "/"}, "named": []string{w.path("alias")}, "shell": w.path("sh1"),
	}, map[string]string{"exec": ancestorsPolicy})
	shells, err := json.Marshal([]string{w.path("sh1"), w.path("link-to-sh2")})
	w.must(err)
	w.write(filepath.Join(w.bundle, "bailiff", "shells", "data.json"), shells, 0o644)
	w.start(mode)
	for _, l := range all {
		t.Run(strings.ReplaceAll(l.name, " ", "-"), func(t *testing.T) {
			if i := slices.IndexFunc(above, func(a string) bool { return !strings.HasPrefix(a, "/") }); i >= 0 && l.run == "guarded" {
				t.Skip("no rule can name a program that is above the tests here: " + above[i])
			}
			w := w.in(t)
			d := w.path(strings.ReplaceAll(l.name, " ", "-"))
			o, events := w.do(w.actor(), w.descend(l.by, filepath.Join(d, l.run)))
			w.checkLaunch(l.rule, mode, o, events)
			_, err := os.Stat(filepath.Join(d, "marker"))
			if ran := err == nil; ran != (l.rule == "" || mode == event.ModeAudit) {
				t.Errorf("the program ran: %v", ran)
			}
			last := events[len(events)-1]
			for _, e := range events {
				if e.Hook == event.HookExec && e.File.Path == filepath.Join(d, l.run) {
					last = e
				}
			}
			shell := ""
			for _, by := range l.by {
				if name := by[len(by)-1]; name == "sh1" || name == "sh2" {
					shell = w.path(name)
				}
			}
			if last.Process.Shell != shell || last.Process.AncestorsCut != (len(l.by) > 16) {
				t.Errorf("told of the shell %q, want %q; of all ancestors: %v", last.Process.Shell, shell, !last.Process.AncestorsCut)
			}
		})
	}
	w.stop()
}

// descend is the step by which the act program becomes one program after another, the
// last of which is not an act program.
func (w *world) descend(by [][]string, last string) []string {
	step := []string{"exec", last}
	for i := len(by) - 1; i >= 0; i-- {
		program := w.path(by[i][len(by[i])-1])
		if by[i][0] == "tty" {
			step = append([]string{"tty", program, "-act"}, step...)
		} else {
			step = append([]string{"become", program}, step...)
		}
	}
	return step
}

// programsAbove lists the programs above acts, as a first agent tells them: who is
// above the tests is not for them to say.
func (w *world) programsAbove() []string {
	w.t.Helper()
	program := w.path("first")
	w.write(program, harness.MarkerProgram(w.path("first-marker")), 0o755)
	w.policy(nil, map[string]string{"exec": "package bailiff.exec\n\ndeny contains \"nothing\" if input.file.path == \"/nowhere\"\n"})
	w.start(event.ModeAudit)
	_, events := w.do(w.actor(), []string{"exec", program})
	w.stop()
	for _, e := range events {
		if e.Hook == event.HookExec && e.File.Path == program {
			return append(e.Process.Ancestry, e.Process.Exe.Path)
		}
	}
	w.t.Fatalf("no exec among %d events", len(events))
	return nil
}

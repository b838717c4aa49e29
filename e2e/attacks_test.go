package e2e

import (
	"embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"example.com/bailiff/e2e/guest"
	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

//go:embed attacks
var attackFiles embed.FS

// attack is one file of attacks/: what sets off one rule, and what does not.
// It is a txtar archive. The comment says in words what the attacker does, and
// holds settings, one a line:
//
//	expect: VERDICT HOOK CLASS  what the rule does: deny or alert; exec, open
//	                     or fork; kernel, commit or prefiltered
//	pack: NAME           the rule is not of the baseline but of this pack
//	programs: PATH...    programs that act in it: copies of busybox
//	guest SCRIPT: WHY    the script runs in guests only
//	native SCRIPT: WHY   it does not run in guests
//	needs SCRIPT: PATH   it is skipped where the path is not there
//	unseen SCRIPT: WHY   the tracepoint backend does not see it
//	beside SCRIPT: ID... other rules that may fire too
//
// attack-*.sh must each set the rule off, innocent-*.sh must set nothing off.
// The other files are put into the root filesystem that the scripts run in.
type attack struct {
	rule     string
	pack     string
	expect   expectation
	programs []string
	scripts  []script
	files    []txtar.File
}

// expectation is what the rule of an attack promises.
type expectation struct {
	verdict event.Verdict
	hook    event.Hook
	class   string // kernel, commit or prefiltered
}

// script is one shell script. In it `as PROGRAM TOOL ARGS...` makes the program
// do what the tool of busybox does; nested shells say `. /prelude` first.
type script struct {
	name, text string
	hostile    bool
	guestOnly  string   // why it runs in guests only
	nativeOnly string   // why it does not run in guests
	needs      string   // a path without which it is skipped
	unseen     string   // why the tracepoint backend does not see it
	beside     []string // other rules that it sets off
}

func readAttacks(t testing.TB) []*attack {
	t.Helper()
	entries, err := attackFiles.ReadDir("attacks")
	if err != nil {
		t.Fatal(err)
	}
	var out []*attack
	for _, e := range entries {
		b, err := attackFiles.ReadFile(path.Join("attacks", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		a, err := parseAttack(strings.TrimSuffix(e.Name(), ".txtar"), txtar.Parse(b))
		if err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		out = append(out, a)
	}
	return out
}

func parseAttack(rule string, ar *txtar.Archive) (*attack, error) {
	a := &attack{rule: rule}
	for _, f := range ar.Files {
		switch s := (script{name: f.Name, text: string(f.Data), hostile: strings.HasPrefix(f.Name, "attack")}); {
		case path.Ext(f.Name) != ".sh" || path.Dir(f.Name) != ".":
			a.files = append(a.files, f)
		case s.hostile || strings.HasPrefix(f.Name, "innocent"):
			a.scripts = append(a.scripts, s)
		default:
			return nil, fmt.Errorf("%s is neither an attack nor innocent", f.Name)
		}
	}
	for _, line := range strings.Split(string(ar.Comment), "\n") {
		key, value, ok := strings.Cut(line, ": ")
		verb, name, _ := strings.Cut(key, " ")
		words := strings.Fields(value)
		switch {
		case ok && key == "programs":
			a.programs = append(a.programs, words...)
		case ok && key == "pack":
			a.pack = value
		case ok && key == "expect":
			if len(words) != 3 {
				return nil, fmt.Errorf("expect needs three words: %s", value)
			}
			err := errors.Join(a.expect.verdict.UnmarshalText([]byte(words[0])), a.expect.hook.UnmarshalText([]byte(words[1])))
			if err != nil {
				return nil, err
			}
			a.expect.class = words[2]
		}
		if !ok || path.Ext(name) != ".sh" {
			continue
		}
		i := slices.IndexFunc(a.scripts, func(s script) bool { return s.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no %s", name)
		}
		switch s := &a.scripts[i]; verb {
		case "guest":
			s.guestOnly = value
		case "native":
			s.nativeOnly = value
		case "needs":
			s.needs = value
		case "unseen":
			s.unseen = value
		case "beside":
			s.beside = strings.Fields(value)
		default:
			return nil, fmt.Errorf("no setting is called %q", verb)
		}
	}
	return a, nil
}

// prelude is read by each script.
const prelude = `PATH=/opt/tools
as() { as_program=$1; as_tool=$2; shift 2; "/run/as$as_program/$as_tool" "$@"; }
set -e
`

// asTools are the tools of busybox that a program can act as.
var asTools = []string{"cat", "cp", "echo", "lsmod", "nc", "sh", "tee", "true"}

// debianDirs are there on every Debian. A directory that a rule names and that is
// made later is known to the agent a moment later only (docs/threat-model.md).
var debianDirs = []string{
	"/etc/cron.d", "/etc/cron.daily", "/etc/ld.so.conf.d", "/etc/profile.d", "/etc/sudoers.d", "/etc/systemd/system",
	"/etc/udev/rules.d", "/var/spool/cron/crontabs",
}

// attackRoot is the root filesystem that all attacks share.
func attackRoot(t *testing.T, attacks []*attack) *harness.Root {
	t.Helper()
	busybox, err := guest.Busybox()
	if errors.Is(err, guest.ErrNoBusybox) {
		skipLayer(t, "attacks", err.Error())
	}
	p, err := build()
	if err != nil {
		t.Fatal(err)
	}
	if p.e2e == "" { // in a guest this very program is static
		if p.e2e, err = os.Executable(); err != nil {
			t.Fatal(err)
		}
	}
	root, err := harness.NewRoot(busybox, map[string]string{harness.RootAgent: p.bailiff, "/opt/act": p.e2e})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := root.Remove(); err != nil {
			t.Error(err)
		}
	})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range debianDirs {
		must(os.MkdirAll(root.Path(d), 0o755))
	}
	must(root.Tools("/usr/bin/busybox"))
	must(os.Symlink("busybox", root.Path("/usr/bin/sh")))
	must(root.File("/prelude", []byte(prelude)))
	must(root.File("/etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\n")))
	for _, n := range []uint32{100, 4200} {
		must(harness.WriteProgram(root.Path(fmt.Sprintf("/opt/crowd-%d", n)), harness.CrowdProgram(n)))
	}
	programs := map[string]bool{}
	for _, a := range attacks {
		for _, p := range a.programs {
			programs[p] = true
		}
		for _, f := range a.files {
			must(root.File(f.Name, f.Data))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		must(root.Program(name, busybox))
		must(os.MkdirAll(root.Path("/run/as"+name), 0o755))
		for _, tool := range asTools {
			must(os.Symlink(name, root.Path("/run/as"+name+"/"+tool)))
		}
	}
	return root
}

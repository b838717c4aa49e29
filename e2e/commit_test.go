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

const commitPolicy = `package bailiff.exec

# METADATA
# custom: {id: e2e-args}
deny contains {"message": sprintf("%s", [input.args])} if {
	input.file.path in data.e2e.programs
	some a in input.args
	startswith(a, "--evil")
}

# METADATA
# custom: {id: e2e-argument}
deny contains {"message": "by index"} if {
	input.file.path in data.e2e.programs
	input.args[1] == "install"
	not "--dry-run" in input.args
}

# METADATA
# custom: {id: e2e-count}
deny contains {"message": "count"} if {
	input.file.path in data.e2e.programs
	count(input.args) > 8
	input.process.uid == 0
}

# METADATA
# custom: {id: e2e-env}
deny contains {"message": input.env.E2E_PRELOAD} if {
	input.file.path in data.e2e.programs
	startswith(input.env.E2E_PRELOAD, "/tmp/")
}

# METADATA
# custom: {id: e2e-regex}
deny contains {"message": "regex"} if {
	input.file.path in data.e2e.programs
	some a in input.args
	regex.match("(?i)^(https?|ftp)://[^/]+/.*\\.sh$", a)
}

# METADATA
# custom: {id: e2e-regex-env}
deny contains {"message": "regex of a variable"} if {
	input.file.path in data.e2e.programs
	regex.match("(^|:)/tmp/[^:]{3}(:|$)", input.env.E2E_SEARCH)
}

# METADATA
# custom: {id: e2e-contains}
alert contains {"message": "contains"} if {
	input.file.path in data.e2e.programs
	some a in input.args
	contains(a, "stratum+tcp")
}
`

// commitCase is one exec of program d/NAME with arguments.
type commitCase struct {
	name    string
	args    []string
	rule    string // that must deny or alert; "": none
	alert   bool
	early   bool // only hooks before the point of no return see it
	cut     bool // the arguments are more than the kernel looks at
	program string
	how     string // exec (default), fexec or thread
	env     []string
}

func commitCases() []commitCase {
	long := strings.Repeat("x", 60_000)
	return []commitCase{
		{name: "prefix", args: []string{"-a", "--evil=1"}, rule: "e2e-args"},
		{name: "from a thread", args: []string{"--evil"}, rule: "e2e-args", how: "thread"},
		{name: "by descriptor", args: []string{"--evil"}, rule: "e2e-args", how: "fexec"},
		{name: "beyond what the record holds", args: []string{long, "--evil"}, rule: "e2e-args"},
		{name: "more than is looked at", args: []string{long, long, long}, rule: "e2e-args", cut: true},
		{name: "by index", args: []string{"install", "x"}, rule: "e2e-argument"},
		{name: "count", args: strings.Fields("1 2 3 4 5 6 7 8"), rule: "e2e-count"},
		{name: "of a script", program: "script", args: []string{"--evil"}, rule: "e2e-args", early: true},
		{name: "alert", args: []string{"-o", "stratum+tcp://x"}, rule: "e2e-contains", alert: true},
		{name: "first instruction", program: "trap", args: []string{"--evil"}, rule: "e2e-args"},
		{name: "environment", env: []string{"A=b", "E2E_PRELOAD=/tmp/x.so"}, rule: "e2e-env"},
		{name: "large environment", env: []string{"A=" + long, "E2E_PRELOAD=/tmp/x.so"}, rule: "e2e-env"},
		{name: "twice in the environment", env: []string{"E2E_PRELOAD=/usr/x.so", "E2E_PRELOAD=/tmp/x.so"}, rule: "e2e-env", cut: true},

		{name: "regular expression", args: []string{"-o", "HTTP://example.com/install.sh"}, rule: "e2e-regex"},
		{name: "regular expression beyond the record", args: []string{long, "ftp://h/" + long + ".SH"}, rule: "e2e-regex"},
		{name: "regular expression on no UTF-8", args: []string{"http://\xff\xe2\x82/\xc3.sh"}, rule: "e2e-regex"},
		{name: "regular expression, first instruction", program: "trap", args: []string{"http://h/a.sh"}, rule: "e2e-regex"},
		{name: "regular expression of a variable", env: []string{"E2E_SEARCH=/usr:/tmp/é\xffb:/x"}, rule: "e2e-regex-env"},

		{name: "no match", args: []string{"http:///a.sh", "xhttp://h/a.sh", "http://h/a.sh ", "http://h.sh"}},
		{name: "no match in a variable", env: []string{"E2E_SEARCH=/tmp/é:/tmp/abcd:x/tmp/abc"}},
		{name: "another variable", env: []string{"XE2E_PRELOAD=/tmp/x.so", "E2E_PRELOADX=/tmp/x.so", "E2E_PRELOAD=x/tmp/", "A=E2E_PRELOAD=/tmp/"}},
		{name: "none"},
		{name: "other", args: []string{"-evil", "uninstall", "x--evil"}},
		{name: "negated", args: []string{"install", "--dry-run"}},
		{name: "another index", args: []string{"x", "install"}},
		{name: "another program", program: "plain", args: []string{"--evil", "install"}},
		{name: "seven", args: strings.Fields("1 2 3 4 5 6 7")},
	}
}

// TestCommit shows that rules on arguments are decided before the first
// instruction of the new image: it leaves no marker, and one whose very first
// instruction is a trap is not ended by that.
func TestCommit(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend string) {
		for _, mode := range shareOf(backend) {
			t.Run(mode.String(), func(t *testing.T) { testCommit(t, backend, mode) })
		}
	})
}

func testCommit(t *testing.T, backend string, mode event.Mode) {
	w := newWorld(t, backend)
	marker := harness.MarkerProgram(w.path("marker"))
	w.write(w.path("plain"), marker, 0o755)
	w.write(w.path("interpreter"), marker, 0o755)
	w.write(w.path("prog"), marker, 0o755)
	w.write(w.path("trap"), harness.TrapProgram(), 0o755)
	w.write(w.path("script"), []byte("#!"+w.path("interpreter")+"\n"), 0o755)
	w.policy(map[string]any{"programs": []string{w.path("prog"), w.path("trap"), w.path("script")}}, map[string]string{"exec": commitPolicy})
	w.start(mode)
	for _, c := range commitCases() {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			w := w.in(t)
			if c.early && !refuses(backend) {
				t.Skip("the " + backend + " backend judges a script by its interpreter")
			}
			w.checkCommit(c, mode)
		})
	}
	w.stop()
}

func (w *world) checkCommit(c commitCase, mode event.Mode) {
	w.t.Helper()
	program := "prog"
	if c.program != "" {
		program = c.program
	}
	step := append([]string{"exec", w.path(program)}, c.args...)
	switch c.how {
	case "thread":
		step = append([]string{"thread"}, step...)
	case "fexec":
		step[0] = "fexec"
	}
	if len(c.env) > 0 {
		step = append([]string{"env", strings.Join(c.env, "\n")}, step[1:]...)
	}
	_ = os.Remove(w.path("marker"))
	o, events := w.do(w.actor(), step)
	dead := c.rule != "" && !c.alert && mode == event.ModeEnforce
	_, err := os.Stat(w.path("marker"))
	switch ran := err == nil; {
	case dead && (o.Signal != syscall.SIGKILL || ran):
		w.t.Errorf("got %v, the first call was made: %v; want it killed", o, ran)
	case !dead && program == "trap" && o.Signal != syscall.SIGILL:
		w.t.Errorf("got %v, want it to end by its first instruction", o)
	case !dead && program != "trap" && (o.Exit != harness.MarkerExit || !ran):
		w.t.Errorf("got %v, the first call was made: %v; want it to run", o, ran)
	}
	var found *event.Event
	for _, e := range events {
		if e.Hook == event.HookExec && e.File != nil && e.Decision.Verdict >= event.VerdictAlert {
			found = e
		}
	}
	if c.rule == "" {
		if found != nil {
			w.t.Errorf("on record: %s", show(found))
		}
		return
	}
	if found == nil {
		w.t.Fatalf("no event of it among %d", len(events))
	}
	verdict, effect := event.VerdictDeny, event.EffectNone
	if c.alert {
		verdict = event.VerdictAlert
	}
	if dead {
		effect = event.EffectKilled
	}
	d := found.Decision
	if d.Rule == nil || d.Rule.ID != c.rule || d.Verdict != verdict || d.Effect != effect || !d.Commit || d.Late {
		w.t.Errorf("decision is %+v, want %v by %s, %v, at commit", d, verdict, c.rule, effect)
	}
	if d.Undecided != c.cut {
		w.t.Errorf("undecided: %v", d.Undecided)
	}
	if filepath.Base(found.File.Path) != program {
		w.t.Errorf("the record is about %s", found.File.Path)
	}
}

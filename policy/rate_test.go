package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"

	"example.com/bailiff/internal/event"
)

// ratePolicy is 100 deny rules, of each of five kinds of which the kernel holds
// a part at most.
func ratePolicy() string {
	var b strings.Builder
	b.WriteString("package bailiff.exec\n")
	for i := range 20 {
		fmt.Fprintf(&b, `
deny contains sprintf("%%s ran %%s", [input.process.exe.path, input.file.path]) if {
	input.file.path == "/opt/tool%[1]d/bin/run"
	contains(concat(" ", input.args), "--unsafe")
}
deny contains "script" if {
	startswith(input.file.path, "/srv/site%[1]d/")
	regex.match("^/srv/site%[1]d/[^/]+/cache/.*[.]sh$", input.file.path)
}
deny contains "interpreter" if {
	input.file.name == "python3.%[1]d"
	some i
	input.args[i] == "-c"
	contains(input.args[i + 1], "socket")
}
deny contains "group" if {
	input.process.uid == %[1]d + 1000
	startswith(input.process.cgroup.path, "/user.slice/user-")
	not contains(input.process.comm, "ssh")
}
deny contains "preload" if {
	input.file.name == "daemon%[1]d"
	input.env.LD_PRELOAD != ""
	not startswith(lower(input.env.LD_PRELOAD), "/usr/lib/")
}
`, i)
	}
	return b.String()
}

// rateEvents are acts that the kernel cannot decide: each is of concern to one
// rule or two, and every other one is denied in the end.
func rateEvents(t testing.TB, p *Policy) []*event.Event {
	var out []*event.Event
	for i := range 20 {
		bad := i%2 == 0
		arg := func(yes, no string) string {
			if bad {
				return yes
			}
			return no
		}
		add := func(path string, uid uint32, env map[string]string, args ...string) {
			e := execOf(path, uid)
			e.Process.Cgroup, e.Process.Comm = "/user.slice/user-1000.slice/session.scope", arg("bash", "ssh-agent")
			e.Process.Ancestry = []string{"/usr/bin/bash", "/usr/bin/login", "/usr/lib/systemd/systemd"}
			e.File.Mode, e.File.Nlink, e.File.FsType = 0o100755, 1, "ext4"
			e.Exec = &event.Exec{Args: append([]string{path}, args...), Env: env, Cwd: "/home/user"}
			e.Decision = event.Decision{Verdict: event.VerdictAllow, Undecided: true}
			out = append(out, e)
		}
		add(fmt.Sprintf("/opt/tool%d/bin/run", i), 0, nil, "-v", arg("--unsafe", "--safe"))
		add(fmt.Sprintf("/srv/site%d/a/%s/x.sh", i, arg("cache", "bin")), 0, nil)
		add(fmt.Sprintf("/usr/bin/python3.%d", i), 0, nil, "-c", arg("import socket", "print()"))
		add("/usr/bin/ls", uint32(i+1000), nil, "-l")
		add(fmt.Sprintf("/usr/sbin/daemon%d", i), 0, map[string]string{"LD_PRELOAD": arg("/tmp/x.so", "/usr/lib/x.so")})
	}
	for _, e := range out {
		if len(p.open(e, everyRule)) == 0 {
			t.Fatalf("the kernel would decide %s", e.File.Path)
		}
	}
	return out
}

// TestDeferredRate: deciding what the kernel left open takes at most a fifth of
// a plain OPA query over the same rules with the same input as a Go map. Both
// must say the same.
func TestDeferredRate(t *testing.T) {
	ctx := context.Background()
	text := ratePolicy()
	p, _, err := LoadFS(ctx, fstest.MapFS{"r.rego": {Data: []byte(text)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := rego.New(rego.Query("data.bailiff.exec.deny"), rego.Module("r.rego", text)).PrepareForEval(ctx)
	if err != nil {
		t.Fatal(err)
	}
	events := rateEvents(t, p)
	inputs := make([]map[string]any, len(events))
	denied := 0
	for i, e := range events {
		doc, err := p.DocumentJSON(e)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(doc, &inputs[i]); err != nil {
			t.Fatal(err)
		}
		d, err := p.Decide(ctx, e)
		if err != nil {
			t.Fatal(err)
		}
		rs, err := plain.Eval(ctx, rego.EvalInput(inputs[i]))
		if err != nil || len(rs) != 1 {
			t.Fatal(err, rs)
		}
		says := rs[0].Expressions[0].Value.([]any)
		if (len(says) > 0) != (d.Verdict == event.VerdictDeny) {
			t.Fatalf("%s: OPA says %v, Decide %+v", e.File.Path, says, d)
		}
		if len(says) > 0 {
			denied++
			if !slices.Contains(says, any(d.Message)) {
				t.Errorf("%s: message %q is not among %v", e.File.Path, d.Message, says)
			}
		}
	}
	if denied < len(events)/3 || denied == len(events) {
		t.Fatalf("%d of %d acts are denied", denied, len(events))
	}
	ours := func() {
		for _, e := range events {
			if _, ok := p.KeyOf(e); !ok {
				t.Fatal("no key")
			}
			if _, err := p.Decide(ctx, e); err != nil {
				t.Fatal(err)
			}
		}
	}
	theirs := func() {
		for _, in := range inputs {
			if _, err := plain.Eval(ctx, rego.EvalInput(in)); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The least of several turns: a busy machine makes turns longer, never shorter.
	best := [2]time.Duration{time.Hour, time.Hour}
	for range 60 {
		for k, f := range []func(){ours, theirs} {
			start := time.Now()
			f()
			best[k] = min(best[k], time.Since(start))
		}
	}
	n := time.Duration(len(events))
	ratio := float64(best[1]) / float64(best[0])
	t.Logf("deferred decision with its key: %v, %.0f a second and core; plain OPA query: %v, %.0f; ratio %.1f",
		best[0]/n, float64(n)/best[0].Seconds(), best[1]/n, float64(n)/best[1].Seconds(), ratio)
	// The aim is 5; on a busy machine a ratio of two times is itself uncertain.
	if ratio < 4 {
		t.Errorf("%.1f times a plain query, want 5", ratio)
	}
}

// BenchmarkDeferred is one deferred decision with its key.
func BenchmarkDeferred(b *testing.B) {
	p := mustLoad(b, ratePolicy(), "")
	events := rateEvents(b, p)
	for i := 0; b.Loop(); i++ {
		e := events[i%len(events)]
		p.KeyOf(e)
		if _, err := p.Decide(context.Background(), e); err != nil {
			b.Fatal(err)
		}
	}
}

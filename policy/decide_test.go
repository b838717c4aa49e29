package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

func mustLoad(t testing.TB, text, data string) *Policy {
	t.Helper()
	fsys := fstest.MapFS{"r.rego": {Data: []byte(text)}}
	if data != "" {
		fsys["data.json"] = &fstest.MapFile{Data: []byte(data)}
	}
	p, _, err := LoadFS(context.Background(), fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func execOf(path string, uid uint32) *event.Event {
	return &event.Event{Hook: event.HookExec, File: &event.File{Path: path}, Exec: &event.Exec{Args: []string{"x"}},
		Process: event.Process{Exe: event.File{Path: "/usr/bin/bash"}, UID: uid, Comm: "bash"}}
}

// TestDocument: the builder has a value for each field of the table and for
// nothing else, of the kind that the schema says, for every hook.
func TestDocument(t *testing.T) {
	vals := values()
	for _, f := range event.Fields {
		if vals[f.Path] == nil {
			t.Errorf("no value for input.%s", f.Path)
		}
		delete(vals, f.Path)
	}
	for path := range vals {
		t.Errorf("input.%s is no field", path)
	}
	tree := documentTree(event.Fields)
	w := newWorld(newRand(1))
	for _, h := range []event.Hook{event.HookExec, event.HookFork, event.HookOpen, event.HookExit} {
		for _, e := range []*event.Event{w.event(h), {Hook: h}} {
			doc := tree.build(&views(e)[0], everyField)
			for _, f := range event.Fields {
				got := lookup(doc, f.Path).Value
				if ast.ValueName(got) != ast.ValueName(zero(f.Kind).Value) {
					t.Errorf("%s: input.%s is %s", e.Hook, f.Path, got)
				}
				if !slices.Contains(f.Hooks, e.Hook) && got.Compare(zero(f.Kind).Value) != 0 {
					t.Errorf("%s: input.%s is %s, not zero", e.Hook, f.Path, got)
				}
			}
		}
	}
}

func TestDecideOrderAndMessage(t *testing.T) {
	p := mustLoad(t, `package bailiff.exec

# METADATA
# custom: {id: seen}
alert contains "seen" if input.process.uid == 7

# METADATA
# custom: {id: audited, mode: audit}
deny contains "audited" if input.process.uid == 7

# METADATA
# custom: {id: denied}
deny contains {"message": sprintf("uid %d ran %s", [input.process.uid, input.file.path])} if input.file.path == "/bin/sh"

# METADATA
# custom: {id: number}
deny contains 42 if input.file.path == "/bin/n"
`, "")
	for _, c := range []struct {
		path    string
		uid     uint32
		verdict event.Verdict
		rule    string
		others  string
		message string
	}{
		{"/bin/ls", 1, event.VerdictAllow, "", "", ""},
		{"/bin/ls", 7, event.VerdictDeny, "audited", "seen", "audited"},
		{"/bin/sh", 7, event.VerdictDeny, "denied", "audited seen", "uid 7 ran /bin/sh"},
		{"/bin/n", 1, event.VerdictDeny, "number", "", "42"},
	} {
		d, err := p.Decide(context.Background(), execOf(c.path, c.uid))
		if err != nil {
			t.Fatal(err)
		}
		id, others := "", []string{}
		if d.Rule != nil {
			id = d.Rule.ID
		}
		for _, o := range d.Others {
			others = append(others, o.ID)
		}
		if d.Verdict != c.verdict || id != c.rule || strings.Join(others, " ") != c.others || d.Message != c.message || d.Revision != p.Revision() {
			t.Errorf("%s as %d: %+v", c.path, c.uid, d)
		}
	}
	if d, err := p.Decide(context.Background(), &event.Event{Hook: event.HookOpen}); err != nil || d.Verdict != event.VerdictAllow {
		t.Errorf("a hook without rules: %+v %v", d, err)
	}
}

// TestNames: an object with several names is judged as the kernel judges it.
func TestNames(t *testing.T) {
	p := mustLoad(t, `package bailiff.exec

deny contains "listed" if input.file.path in {"/bin/sh", "/opt/sh"}

deny contains "not excepted" if {
	startswith(input.file.path, "/usr/")
	not input.file.path in {"/opt/fine"}
}

deny contains "deferred" if {
	contains(input.file.path, "/lib/")
	not startswith(input.file.path, "/usr/")
}
`, "")
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"/usr/bin/dash", "/bin/sh"}, "listed"},
		{[]string{"/usr/bin/dash"}, "not excepted"},
		{[]string{"/usr/bin/dash", "/opt/fine"}, ""},
		{[]string{"/opt/lib/x"}, "deferred"},
		{[]string{"/opt/fine", "/opt/lib/x"}, "deferred"},
		{[]string{"/usr/lib/x", "/opt/lib/x"}, "not excepted"},
	} {
		e := execOf(c.names[0], 0)
		e.File.Names = c.names
		d, err := p.Decide(context.Background(), e)
		if err != nil || d.Message != c.want {
			t.Errorf("%v: %q (want %q) %v", c.names, d.Message, c.want, err)
		}
		r := p.Program().Decide(event.HookExec, ir.KeyOf(e))
		if r.Verdict == event.VerdictDeny && d.Verdict != event.VerdictDeny {
			t.Errorf("%v: the kernel denies, OPA does not", c.names)
		}
	}
	e := execOf("/somewhere", 0)
	e.File.Unresolved = true
	if d, err := p.Decide(context.Background(), e); err != nil || d.Verdict != event.VerdictDeny {
		t.Errorf("an unresolved path fails closed: %+v %v", d, err)
	}
	if n := len(views(&event.Event{File: &event.File{Names: make([]string, 9)}, Process: event.Process{Exe: event.File{Names: make([]string, 9)}}})); n != combinations {
		t.Errorf("%d choices of names", n)
	}
}

func TestKeyOf(t *testing.T) {
	text := `package bailiff.exec

deny contains "kernel" if input.process.gid == 0

deny contains "args" if {
	input.process.uid == 7
	contains(concat(" ", input.args), "x")
}
`
	p := mustLoad(t, text, "")
	a, b := execOf("/bin/a", 7), execOf("/bin/b", 7)
	b.Process.GID, b.Process.Comm = 9, "other"
	ka, ok := p.KeyOf(a)
	if kb, _ := p.KeyOf(b); !ok || ka != kb {
		t.Errorf("%q and %q differ in what the deferred rule does not read", ka, kb)
	}
	b.Exec.Args = []string{"y"}
	if kb, _ := p.KeyOf(b); ka == kb {
		t.Error("arguments are read")
	}
	b.Exec.Args, b.Process.UID = a.Exec.Args, 8
	if kb, _ := p.KeyOf(b); ka == kb {
		t.Error("the uid is read")
	}
	for _, more := range []string{"time.now_ns() > 7", `object.get(input, "process", 0) != 0`} {
		p := mustLoad(t, text+"\ndeny contains \"more\" if {\n\t"+more+"\n\tinput.process.gid == 1\n}\n", "")
		if _, ok := p.KeyOf(a); ok {
			t.Errorf("%s: the answer may not be kept", more)
		}
	}
}

// TestConcurrent: one policy answers many at once.
func TestConcurrent(t *testing.T) {
	p := mustLoad(t, "package bailiff.exec\n\ndeny contains \"x\" if regex.match(`b.$`, input.file.path)\n", "")
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 50 {
				path, want := "/bin/ba", event.VerdictDeny
				if i%2 == 0 {
					path, want = "/bin/c", event.VerdictAllow
				}
				if d, err := p.Decide(context.Background(), execOf(path, 0)); err != nil || d.Verdict != want {
					t.Errorf("%s: %v %v", path, d.Verdict, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestCancelled(t *testing.T) {
	p := mustLoad(t, "package bailiff.exec\n\ndeny contains \"x\" if {\n\tcount([n | some n in numbers.range(1, 3000000); n > 5]) > input.process.uid\n}\n", "")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if d, err := p.Decide(ctx, execOf("/bin/sh", 1)); err == nil {
		t.Errorf("no error: %+v", d)
	}
}

func TestDocumentJSON(t *testing.T) {
	p := mustLoad(t, small, `{"shells": ["/bin/sh"]}`)
	b, err := p.DocumentJSON(execOf("/bin/<sh>", 1))
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := json.Unmarshal(b, &doc); err != nil || !strings.Contains(string(b), `"/bin/<sh>"`) {
		t.Errorf("%s %v", b, err)
	}
}

// mixed is a policy of n rules, of which the rule index of OPA knows most.
func mixed(n int) string {
	var b strings.Builder
	b.WriteString("package bailiff.exec\n")
	for i := range n {
		cond := fmt.Sprintf("input.file.path == \"/opt/%d\"", i)
		switch i % 10 {
		case 7:
			cond = fmt.Sprintf("contains(input.file.path, \"/odd%d/\")", i)
		case 8:
			cond = fmt.Sprintf("some a in input.args; a == \"--odd%d\"", i)
		case 9:
			cond = fmt.Sprintf("regex.match(`^/odd%d/[^/]+$`, input.file.path)", i)
		}
		fmt.Fprintf(&b, "\ndeny contains \"%d\" if {\n\tinput.process.uid >= 1000\n\t%s\n}\n", i, cond)
	}
	return b.String()
}

// BenchmarkDecide is the common case: no rule fires. "map" is a prepared query
// on a map[string]any of the same document, as a plain embedding would do it.
func BenchmarkDecide(b *testing.B) {
	ctx := context.Background()
	e := execOf("/usr/bin/ls", 1000)
	for _, n := range []int{10, 100, 1000} {
		p := mustLoad(b, mixed(n), "")
		b.Run(fmt.Sprintf("rules=%d/ours", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d, err := p.Decide(ctx, e); err != nil || d.Verdict != event.VerdictAllow {
					b.Fatal(d, err)
				}
			}
		})
		q, err := rego.New(rego.Compiler(p.src.Compiler), rego.Store(p.src.Store), rego.Query("data.bailiff.exec.deny")).PrepareForEval(ctx)
		if err != nil {
			b.Fatal(err)
		}
		v, err := ast.JSON(p.Document(e))
		if err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("rules=%d/map", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := q.Eval(ctx, rego.EvalInput(v)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

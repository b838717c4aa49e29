package ir

import (
	"bytes"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
)

func cond(f event.FieldID, op Op, vals ...any) Cond {
	c := Cond{Field: f, Op: op}
	for _, v := range vals {
		switch v := v.(type) {
		case string:
			c.Strs = append(c.Strs, v)
		case int:
			c.Nums = append(c.Nums, uint64(v))
		}
	}
	return c
}

func no(c Cond) Cond { c.Negated = true; return c }

func outside(c Cond, under ...string) Cond {
	c.Outside, c.Under = true, under
	return c
}

func mask(f event.FieldID, op Op, m uint64, vals ...any) Cond {
	c := cond(f, op, vals...)
	c.Mask = m
	return c
}

func program() *Program {
	return &Program{Revision: "r1", Rules: map[event.Hook][]Rule{
		event.HookExec: {
			{Ref: event.RuleRef{ID: "a"}, Verdict: event.VerdictDeny, Kill: true, Clauses: []Clause{
				{When: []Cond{cond(event.FieldPath, OpIn, "/bin/nc", "/bin/sh"), no(cond(event.FieldUID, OpLess, 1000))}},
				{When: []Cond{cond(event.FieldName, OpSuffix, ".so"), cond(event.FieldAncestors, OpIn, "/usr/sbin/nginx")}, Maybe: true, Reads: []string{"args"}},
			}},
			{Ref: event.RuleRef{ID: "b"}, Verdict: event.VerdictDeny, Audit: true, Undecided: UndecidedDeny, Clauses: []Clause{
				{When: []Cond{mask(event.FieldMode, OpMaskEq, 0xc00, 0x800), no(mask(event.FieldTraits, OpMaskAny, 3))}},
				{When: []Cond{{Field: event.FieldUID, Op: OpSame, Other: event.FieldEUID, Negated: true}, cond(event.FieldPath, OpPrefix, "/tmp/")}},
			}},
			{Ref: event.RuleRef{ID: "c"}, Verdict: event.VerdictAlert},
			{Ref: event.RuleRef{ID: "e"}, Verdict: event.VerdictAlert, Clauses: []Clause{
				{When: []Cond{outside(cond(event.FieldAncestors, OpIn, "/bin/sh"), "/opt/", "/srv/"), cond(event.FieldPath, OpIn, "/e")}},
				{When: []Cond{no(outside(cond(event.FieldAncestors, OpPrefix, "/usr/"))), cond(event.FieldPath, OpIn, "/f")}},
			}},
		},
		event.HookFork: {{Ref: event.RuleRef{ID: "d"}, Verdict: event.VerdictAlert, Clauses: []Clause{{}}}},
	}}
}

func TestWithoutGiven(t *testing.T) {
	c := Clause{Reads: []string{"cwd"}, When: []Cond{
		{Field: event.FieldName, Op: OpIn, Strs: []string{"x"}},
		{Field: event.FieldArgs, Op: OpIn, Strs: []string{"-e"}},
		{Field: event.FieldEnv, Var: "A", Op: OpIn, Strs: []string{"b"}},
	}}
	got := c.WithoutGiven()
	if len(got.When) != 1 || got.When[0].Field != event.FieldName || !got.Maybe || !slices.Equal(got.Reads, []string{"args", "cwd", "env"}) {
		t.Errorf("%+v", got)
	}
	r := Rule{Verdict: event.VerdictDeny, Clauses: []Clause{c}}
	if r.ReadsGiven() != (event.GivenParts{}) {
		t.Error("nobody waits for the rule")
	}
	r.Hold = true
	if g := r.ReadsGiven(); g != (event.GivenParts{Args: true, Env: true, Cwd: true}) {
		t.Errorf("%+v", g)
	}
	r.Clauses[0].When, r.Clauses[0].Reads = c.When[:1], nil
	if g := r.ReadsGiven(); g != (event.GivenParts{}) {
		t.Errorf("%+v", g)
	}
}

func TestPrint(t *testing.T) {
	var b bytes.Buffer
	if err := Print(&b, program()); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"exec 0: deny (kill) a",
		"\tfile.path in {\"/bin/nc\", \"/bin/sh\"} and process.uid >= 1000",
		"\tfile.name ending in {\".so\"} and process.ancestors in {\"/usr/sbin/nginx\"} and maybe(reads args)",
		"exec 1: deny (audit) (undecided: deny) b",
		"\tfile.mode & 0xc00 == 0x800 and file.traits has none of {memory_backed, unlinked}",
		"\tprocess.uid != process.euid and file.path below {\"/tmp/\"}",
		"exec 2: alert c",
		"\tnever",
		"exec 3: alert e",
		"\tsome of process.ancestors not in {\"/bin/sh\"} nor below {\"/opt/\", \"/srv/\"} and file.path == \"/e\"",
		"\tall of process.ancestors below {\"/usr/\"} and file.path == \"/f\"",
		"fork 0: alert d",
		"\talways",
		"",
	}, "\n")
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestDecide(t *testing.T) {
	p := program()
	e := &event.Event{Hook: event.HookExec, File: &event.File{Path: "/bin/sh"}, Process: event.Process{UID: 1000, EUID: 1000}}
	if r := p.Decide(e.Hook, KeyOf(e)); r.Verdict != event.VerdictDeny || r.Rule != 0 || len(r.Undecided) != 0 {
		t.Errorf("%+v", r)
	}
	e.Process.UID, e.File.Names = 0, []string{"/opt/x.so", "/tmp/y"}
	e.Process.Ancestry = []string{"/usr/bin/env", "/usr/sbin/nginx"}
	if r := p.Decide(e.Hook, KeyOf(e)); r.Verdict != event.VerdictDeny || r.Rule != 1 || len(r.Undecided) != 1 || r.Undecided[0] != 0 {
		t.Errorf("rule b holds by the second name, rule a is open: %+v", r)
	}
	e.Process.Ancestry = nil
	e.File.Unresolved, e.File.Names, e.File.Path = true, nil, "/unknown"
	if r := p.Decide(e.Hook, KeyOf(e)); r.Rule != 1 {
		t.Errorf("conditions on an unresolved path count as met: %+v", r)
	}
	if r := p.Decide(event.HookOpen, KeyOf(e)); r.Verdict != event.VerdictAllow || r.Rule != -1 {
		t.Errorf("a hook without rules: %+v", r)
	}
}

// TestOutside: one ancestor is outside of a list if none of its names is in it, and all
// of no ancestors are in it.
func TestOutside(t *testing.T) {
	c := outside(cond(event.FieldAncestors, OpIn, "/bin/sh", "/sbin/init"), "/opt/")
	for _, x := range []struct {
		above [][]string
		want  bool
	}{
		{nil, false},
		{[][]string{{"/bin/sh"}, {"/opt/a/b"}}, false},
		{[][]string{{"/bin/sh"}, {"/usr/bin/ssh"}}, true},
		{[][]string{{"/bin/sh", "/usr/bin/dash"}}, false},
		{[][]string{{"/usr/bin/dash", "/bin/sh"}, {"/srv/x", "/opt/x"}}, false},
		{[][]string{{"/usr/bin/dash", "/bin/dash"}, {"/bin/sh"}}, true},
	} {
		e := &event.Event{Hook: event.HookExec, Process: event.Process{AncestorNames: x.above}}
		one := true
		for _, names := range x.above {
			e.Process.Ancestry = append(e.Process.Ancestry, names...)
			one = one && len(names) == 1
		}
		if one {
			e.Process.AncestorNames = nil
		}
		k := KeyOf(e)
		if n := no(c); c.Holds(k) != x.want || n.Holds(k) == x.want {
			t.Errorf("%v: some outside %v, all within %v", x.above, c.Holds(k), n.Holds(k))
		}
	}
}

// TestEarlyIsCertain: a clause that holds for want of the digest is not what makes a
// rule certain before the new image is in place.
func TestEarlyIsCertain(t *testing.T) {
	p := &Program{Rules: map[event.Hook][]Rule{event.HookExec: {
		{Verdict: event.VerdictDeny, Clauses: []Clause{
			{When: []Cond{cond(event.FieldSHA256, OpIn, strings.Repeat("a", 64))}},
			{When: []Cond{cond(event.FieldArgs, OpIn, "-e")}},
		}},
		{Verdict: event.VerdictDeny, Clauses: []Clause{{}}},
	}}}
	e := &event.Event{Hook: event.HookExec, File: &event.File{Path: "/x"}, Exec: &event.Exec{Args: []string{"nc", "-e"}}}
	if r := p.Decide(e.Hook, KeyOf(e)); r.Rule != 1 {
		t.Errorf("%+v: the first rule waits for the arguments, the second does not", r)
	}
}

// TestInteresting: every clause is made true, and each of its conditions is the
// only one that fails.
func TestInteresting(t *testing.T) {
	p := program()
	keys := p.InterestingKeys(event.HookExec)
	for i, r := range p.Rules[event.HookExec] {
		for j := range r.Clauses {
			c := &r.Clauses[j]
			seen, failing := false, make([]bool, len(c.When))
			for k := range keys {
				bad := -1
				n := 0
				for w := range c.When {
					if !c.When[w].Holds(&keys[k]) {
						bad, n = w, n+1
					}
				}
				seen = seen || n == 0
				if n == 1 {
					failing[bad] = true
				}
			}
			if !seen {
				t.Errorf("rule %d clause %d is never true", i, j)
			}
			for w, ok := range failing {
				if !ok {
					t.Errorf("rule %d clause %d: condition %d never fails alone", i, j, w)
				}
			}
		}
	}
}

// TestKeyTotal: what does not apply to a hook is zero.
func TestKeyTotal(t *testing.T) {
	e := &event.Event{Hook: event.HookFork, CgroupProcs: 7, File: &event.File{Path: "/x", UID: 5}, Open: []string{"write"}, Fork: &event.Fork{Flags: 9}}
	k := KeyOf(e)
	if k.Str[event.FieldPath] != nil || k.Num[event.FieldOwner] != 0 || k.Num[event.FieldOpenFlags] != 0 {
		t.Error("a fork has no file")
	}
	if k.Num[event.FieldCgroupProcs] != 7 || k.Num[event.FieldCloneFlags] != 9 {
		t.Error("a fork has flags and a count")
	}
	e.Hook = event.HookOpen
	if k := KeyOf(e); k.Num[event.FieldCgroupProcs] != 0 || k.Num[event.FieldOpenFlags] != 2 || k.Str[event.FieldName][0] != "x" {
		t.Error("an open has a file and flags")
	}
}

// TestVerityKey: that a file has no fs-verity digest is known, and is something else
// than that nobody can say: then no test of it is decided, one of "" neither.
func TestVerityKey(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for _, tt := range []struct {
		hook          event.Hook
		verity        string
		unknown       bool
		none, is, any bool // holds: == "", == digest, != ""
	}{
		{event.HookExec, "", true, true, true, true},
		{event.HookExec, event.NoVerity, false, true, false, false},
		{event.HookExec, digest, false, false, true, true},
		{event.HookExec, "sha512:" + strings.Repeat("a", 128), false, false, false, true},
		{event.HookMmap, "", false, true, false, false},
	} {
		k := KeyOf(&event.Event{Hook: tt.hook, File: &event.File{Path: "/a", Verity: tt.verity}})
		if k.NoVerity != tt.unknown {
			t.Errorf("%s of %q: unknown: %v", tt.hook, tt.verity, k.NoVerity)
		}
		none, is := cond(event.FieldVerity, OpIn, ""), cond(event.FieldVerity, OpIn, digest)
		some := none
		some.Negated = true
		for i, c := range []Cond{none, is, some} {
			r := Rule{Clauses: []Clause{{When: []Cond{c}}}}
			want := []bool{tt.none, tt.is, tt.any}[i]
			if certain, maybe := r.Holds(k); certain != (want && !tt.unknown) || maybe != (want && tt.unknown) || r.Blind(k) != tt.unknown {
				t.Errorf("%s of %q, %s: certain %v, maybe %v, blind %v", tt.hook, tt.verity, c.String(), certain, maybe, r.Blind(k))
			}
		}
	}
}

// FuzzClause: a negated condition is the opposite of the plain one, and a
// clause flagged Maybe never decides.
func FuzzClause(f *testing.F) {
	for seed := range int64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed int64) {
		r := rand.New(rand.NewSource(seed))
		p := program()
		keys := p.InterestingKeys(event.HookExec)
		k := keys[r.Intn(len(keys))]
		for id := range k.Num {
			if r.Intn(4) == 0 {
				k.Num[id] = r.Uint64() >> 1
			}
		}
		for i := range p.Rules[event.HookExec] {
			rule := &p.Rules[event.HookExec][i]
			for j := range rule.Clauses {
				for _, c := range rule.Clauses[j].When {
					n := c
					n.Negated = !c.Negated
					if c.Holds(&k) == n.Holds(&k) {
						t.Fatalf("%s and %s agree", c.String(), n.String())
					}
				}
			}
		}
		if d := p.Decide(event.HookExec, &k); d.Rule == 0 && !p.Rules[event.HookExec][0].Clauses[0].Holds(&k) {
			t.Fatal("a Maybe clause decided")
		}
	})
}

func TestValidate(t *testing.T) {
	if err := program().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []Cond{
		{Field: event.FieldNone, Op: OpIn},
		cond(event.FieldPath, OpIn, "relative"), cond(event.FieldPath, OpIn, "/a/../b"), cond(event.FieldPath, OpIn, "/b", "/a"),
		cond(event.FieldPath, OpIn), cond(event.FieldPath, OpPrefix, "/usr/bin/py"), cond(event.FieldPath, OpSuffix, ".so"),
		cond(event.FieldName, OpPrefix, "a"), cond(event.FieldName, OpSuffix, "/a"), cond(event.FieldName, OpSuffix, strings.Repeat("a", 25)),
		cond(event.FieldName, OpIn, "a/b"), cond(event.FieldUID, OpLess, 0), cond(event.FieldUID, OpLess, 1, 2), cond(event.FieldUID, OpIn, "a"),
		mask(event.FieldMode, OpMaskEq, 1, 2), mask(event.FieldMode, OpMaskAny, 0), mask(event.FieldPath, OpMaskAny, 1),
		{Field: event.FieldUID, Op: OpSame, Other: event.FieldPath}, {Field: event.FieldUID, Op: OpSame, Other: event.FieldUID},
		outside(cond(event.FieldPath, OpIn, "/a")), outside(cond(event.FieldAncestors, OpIn, "/a"), "/b"), outside(cond(event.FieldAncestors, OpPrefix, "/a/"), "/b/"),
		{Field: event.FieldAncestors, Op: OpIn, Strs: []string{"/a"}, Under: []string{"/b/"}}, outside(cond(event.FieldAncestors, OpIn), "/b/"),
		{Field: event.FieldUID, Op: Op(99)}, cond(event.FieldVerity, OpIn, strings.Repeat("a", 64)), cond(event.FieldSHA256, OpIn, "sha256:"+strings.Repeat("a", 64)),
		cond(event.FieldVerity, OpIn, "sha512:"+strings.Repeat("a", 64)), cond(event.FieldVerity, OpPrefix, "sha256:"), cond(event.FieldName, OpRegex, "a"), cond(event.FieldArgs, OpRegex, "("), cond(event.FieldArgs, OpRegex), cond(event.FieldTraits, OpIn, 1), cond(event.FieldCloneFlags, OpIn, 1),
	} {
		p := &Program{Rules: map[event.Hook][]Rule{event.HookExec: {{Clauses: []Clause{{When: []Cond{c}}}}}}}
		if p.Validate() == nil {
			t.Errorf("%s is accepted", c.String())
		}
	}
}

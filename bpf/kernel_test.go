package bpf

import (
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// open returns the tracking programs of this kernel without any hook that
// refuses, in a scope that holds no process.
func open(t testing.TB) *Kernel {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	root, err := cgroupRoot()
	if err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp(root, "bailiff-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	k, err := Open(context.Background(), Options{Backend: BackendTracepoint, Scope: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func TestOpenClose(t *testing.T) {
	k := open(t)
	c, err := k.Counters()
	if err != nil {
		t.Fatal(err)
	}
	t.Log(c)
	infos, err := k.exeInfos()
	if err != nil || len(infos) == 0 {
		t.Fatalf("programs seen: %d, %v", len(infos), err)
	}
}

func randomProgram(r *rand.Rand) *ir.Program {
	p := &ir.Program{Revision: "random", Rules: map[event.Hook][]ir.Rule{}}
	for _, n := range someIdentities {
		p.Identities = append(p.Identities, ir.Identity{Name: n, Paths: []string{"/etc/" + n, "/etc/shadow"}})
	}
	paths := []string{"/usr/bin/a", "/usr/bin/b", "/etc/shadow", "/tmp/x.so", "/srv/deep/er/file"}
	dirs := []string{"/usr/", "/usr/bin/", "/etc/", "/srv/", "/srv/deep/", "/"}
	names := []string{"a", "b", "shadow", "x.so", "file"}
	ends := []string{".so", "so", "w", "adow"}
	pick := func(from []string) []string {
		n := 1 + r.IntN(2)
		set := map[string]bool{}
		for range n {
			set[from[r.IntN(len(from))]] = true
		}
		var out []string
		for _, s := range from {
			if set[s] {
				out = append(out, s)
			}
		}
		return sorted(out)
	}
	cond := func(h event.Hook) ir.Cond {
		neg := r.IntN(3) == 0
		pathFields := []event.FieldID{event.FieldExePath, event.FieldParentPath, event.FieldAncestors, event.FieldShell}
		nameFields := []event.FieldID{event.FieldExeName, event.FieldParentName}
		numFields := []event.FieldID{event.FieldUID, event.FieldEUID, event.FieldTTY}
		maskFields := []event.FieldID{event.FieldCaps, event.FieldProcessTraits}
		if h != event.HookFork {
			pathFields = append(pathFields, event.FieldPath, event.FieldPath)
			nameFields = append(nameFields, event.FieldName)
			numFields = append(numFields, event.FieldMode, event.FieldNlink, event.FieldFileAge, event.FieldHook)
			maskFields = append(maskFields, event.FieldTraits)
		} else {
			numFields = append(numFields, event.FieldCgroupProcs, event.FieldForkRate)
		}
		switch h {
		case event.HookOpen:
			maskFields = append(maskFields, event.FieldOpenFlags, event.FieldTargetTraits)
		case event.HookExec:
			maskFields = append(maskFields, event.FieldStdio)
			numFields = append(numFields, event.FieldExecRate)
		}
		if h != event.HookFork && r.IntN(8) == 0 {
			return ir.Cond{Field: event.FieldIdentities, Op: ir.OpIn, Strs: pick(someIdentities), Negated: neg}
		}
		if h == event.HookExec && r.IntN(6) == 0 {
			if r.IntN(2) == 0 {
				return ir.Cond{Field: event.FieldVerity, Op: ir.OpIn, Strs: pick(someVerities), Negated: neg}
			}
			return ir.Cond{Field: event.FieldSHA256, Op: ir.OpIn, Strs: pick(someDigests), Negated: neg}
		}
		if h == event.HookExec && r.IntN(3) == 0 {
			c := randomText(r, pick)
			c.Negated = neg
			return c
		}
		if r.IntN(8) == 0 {
			c := ir.Cond{Field: event.FieldAncestors, Op: ir.OpIn, Strs: pick(paths), Outside: true, Negated: neg}
			if r.IntN(2) == 0 {
				c.Under = pick(dirs)
			} else if r.IntN(2) == 0 {
				c.Op, c.Strs = ir.OpPrefix, pick(dirs)
			}
			return c
		}
		if r.IntN(16) == 0 {
			return ir.Cond{Field: event.FieldShell, Op: ir.OpIn, Strs: append([]string{""}, pick(paths)...)[:1+r.IntN(2)], Negated: neg}
		}
		switch r.IntN(8) {
		case 0, 1:
			return ir.Cond{Field: pathFields[r.IntN(len(pathFields))], Op: ir.OpIn, Strs: pick(paths), Negated: neg}
		case 2:
			return ir.Cond{Field: pathFields[r.IntN(len(pathFields))], Op: ir.OpPrefix, Strs: pick(dirs), Negated: neg}
		case 3:
			return ir.Cond{Field: nameFields[r.IntN(len(nameFields))], Op: ir.OpIn, Strs: pick(names), Negated: neg}
		case 4:
			return ir.Cond{Field: nameFields[r.IntN(len(nameFields))], Op: ir.OpSuffix, Strs: pick(ends), Negated: neg}
		case 5:
			if r.IntN(3) == 0 {
				return ir.Cond{Field: event.FieldUID, Op: ir.OpSame, Other: event.FieldEUID, Negated: neg}
			}
			return ir.Cond{Field: numFields[r.IntN(len(numFields))], Op: ir.OpLess, Nums: []uint64{uint64(r.IntN(5))}, Negated: neg}
		case 6:
			return ir.Cond{Field: numFields[r.IntN(len(numFields))], Op: ir.OpIn, Nums: []uint64{uint64(r.IntN(3)), uint64(3 + r.IntN(3))}, Negated: neg}
		}
		if r.IntN(4) == 0 { // more bits than share a dimension
			return ir.Cond{Field: maskFields[r.IntN(len(maskFields))], Op: ir.OpMaskAny, Mask: 0xff << r.IntN(3), Negated: neg}
		}
		m := uint64(1) << r.IntN(5)
		if r.IntN(2) == 0 {
			return ir.Cond{Field: maskFields[r.IntN(len(maskFields))], Op: ir.OpMaskAny, Mask: m | 1<<r.IntN(5), Negated: neg}
		}
		return ir.Cond{Field: maskFields[r.IntN(len(maskFields))], Op: ir.OpMaskEq, Mask: m | 1, Nums: []uint64{m}, Negated: neg}
	}
	for _, h := range event.Judged {
		n := 1 + r.IntN(12)
		if r.IntN(8) == 0 {
			n = 150
		}
		var deny, audit, alert []ir.Rule
		for range n {
			rule := ir.Rule{Verdict: event.VerdictDeny}
			for range 1 + r.IntN(3) {
				c := ir.Clause{Maybe: r.IntN(4) == 0}
				for range r.IntN(4) {
					c.When = append(c.When, cond(h))
				}
				rule.Clauses = append(rule.Clauses, c)
			}
			switch r.IntN(4) {
			case 0:
				rule.Verdict = event.VerdictAlert
				alert = append(alert, rule)
			case 1:
				rule.Audit = true
				audit = append(audit, rule)
			default:
				rule.Undecided = ir.Undecided(r.IntN(2))
				deny = append(deny, rule)
			}
		}
		p.Rules[h] = append(append(deny, audit...), alert...)
	}
	return p
}

// randomText is a condition on arguments or environment.
func randomText(r *rand.Rand, pick func([]string) []string) ir.Cond {
	parts := []string{"", "-", "--x", "a", "ab", "aba", "b", "x=y", "LD", "\xff\xfe"}
	c := ir.Cond{Field: event.FieldArgs, Op: []ir.Op{ir.OpIn, ir.OpPrefix, ir.OpSuffix, ir.OpContains, ir.OpRegex}[r.IntN(5)], Strs: pick(parts)}
	if c.Op == ir.OpRegex {
		c.Strs = pick([]string{"", "^a", "b$", "^(ab)+$", "a.b", "^.$", "[^a]{2}", `\bx`, "(?i)K", "-+x", "é", `^[^-]*$`, "\ufffd"})
	}
	switch r.IntN(6) {
	case 0:
		c.At = 1 + r.IntN(3)
	case 1, 2:
		c.Field, c.Var = event.FieldEnv, []string{"LD", "L", "A"}[r.IntN(3)]
	case 3:
		return ir.Cond{Field: event.FieldArgs, Op: ir.OpLess, Nums: []uint64{uint64(1 + r.IntN(4))}}
	}
	return c
}

func sorted(s []string) []string {
	for i := range s {
		for j := i; j > 0 && s[j] < s[j-1]; j-- {
			s[j], s[j-1] = s[j-1], s[j]
		}
	}
	return s
}

// TestAgreement compares the kernel's decide with ir.Program.Decide, the
// definition, over random programs and keys.
func TestAgreement(t *testing.T) {
	k := open(t)
	r := rand.New(rand.NewPCG(1, 2))
	programs := 30
	if os.Getenv("BAILIFF_E2E_GUEST") != "" {
		programs = 10 // emulated
	}
	for n := range programs {
		p := randomProgram(r)
		gen, err := k.Stage(context.Background(), p)
		if err != nil {
			t.Fatal(err)
		}
		agree(t, k, gen, p, r)
		if err := k.Retire(gen); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("program %d of %d", n, programs)
		}
	}
}

var (
	somePaths = []string{"/usr/bin/a", "/usr/bin/b", "/usr/bin/c", "/etc/shadow", "/etc/shadow.bak", "/tmp/x.so", "/tmp/file",
		"/srv/deep/er/file", "/srv/deep/other", "/usr", "/a", "/x/lib.so", "/srv"}
	// More than share one dimension of the kernel's numbers.
	someIdentities = []string{"a", "b", "c", "d", "e", "f", "g", "h"}
	someDigests    = []string{"", strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("0", 64)}
	someVerities   = []string{"", "sha256:" + strings.Repeat("a", 64), "sha512:" + strings.Repeat("a", 128), "sha512:" + strings.Repeat("a", 64) + strings.Repeat("b", 64)}
	zeroKey        ir.Key
)

func randomKey(r *rand.Rand, h event.Hook) *ir.Key {
	k := zeroKey
	path := func(p, n event.FieldID) {
		s := somePaths[r.IntN(len(somePaths))]
		k.Str[p] = []string{s}
		if n != 0 {
			k.Str[n] = []string{fileBase(s)}
		}
	}
	path(event.FieldExePath, event.FieldExeName)
	path(event.FieldParentPath, event.FieldParentName)
	if r.IntN(3) > 0 {
		path(event.FieldShell, 0)
	}
	if h != event.HookFork {
		path(event.FieldPath, event.FieldName)
	}
	for bit, n := range someIdentities {
		if h != event.HookFork && r.IntN(3) == 0 {
			k.Str[event.FieldIdentities] = append(k.Str[event.FieldIdentities], n)
			k.Num[event.FieldIdentities] |= 1 << bit // as the tables have it
		}
	}
	for range r.IntN(3) {
		names := []string{somePaths[r.IntN(len(somePaths))]}
		if r.IntN(4) == 0 {
			names = append(names, somePaths[r.IntN(4)])
		}
		k.Str[event.FieldAncestors] = append(k.Str[event.FieldAncestors], names...)
		k.Above = append(k.Above, names)
	}
	for f := range event.NumFields {
		if kind := event.FieldByID(f).Kind; f != 0 && (kind == event.KindInt || kind == event.KindFlags || kind == event.KindEnum) {
			k.Num[f] = uint64(r.IntN(8))
		}
	}
	if h == event.HookExec {
		k.NoDigest = r.IntN(4) == 0
		if k.Str[event.FieldSHA256] = []string{""}; !k.NoDigest {
			k.Str[event.FieldSHA256][0] = append(someDigests, strings.Repeat("c", 64))[r.IntN(len(someDigests)+1)]
		}
		if k.NoVerity = r.IntN(4) == 0; !k.NoVerity {
			k.Str[event.FieldVerity] = []string{append(someVerities, "sha512:"+strings.Repeat("b", 128))[r.IntN(len(someVerities)+1)]}
		}
		texts := []string{"", "-", "--x", "a", "ab", "aba", "abab", "b", "x=y", "LD=a", "\xff\xfe", "-aab--x", "é", "aéb", "\u212a", "a\xc3b", "\n"}
		for range r.IntN(20) % 6 {
			k.Str[event.FieldArgs] = append(k.Str[event.FieldArgs], texts[r.IntN(len(texts))])
		}
		k.Num[event.FieldArgs] = uint64(len(k.Str[event.FieldArgs]))
		k.Env = map[string]string{}
		for _, name := range []string{"LD", "L", "A", "LDX", "PATH"} {
			if r.IntN(2) == 0 {
				k.Env[name] = texts[r.IntN(len(texts))]
			}
		}
	}
	return &k
}

func fileBase(p string) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] == '/' {
			return p[i+1:]
		}
	}
	return p
}

func agree(t *testing.T, k *Kernel, gen event.Generation, p *ir.Program, r *rand.Rand) {
	t.Helper()
	fitted := &ir.Program{Rules: k.gens[uint32(gen)].tables.fitted}
	for _, h := range event.Judged {
		var keys []*ir.Key
		for range 1200 {
			keys = append(keys, randomKey(r, h))
		}
		answers, err := k.Try(gen, h, keys)
		if err != nil {
			t.Fatal(err)
		}
		for i, key := range keys {
			// What the tables hold may be weaker than the program, never other.
			got, exact := answers[i], p.Decide(h, key)
			if !got.Undecided && (got.Rule != exact.Rule || got.Verdict != exact.Verdict) {
				t.Errorf("%s: kernel is sure of %+v, program says %+v\nkey %+v", h, got, exact, *key)
				return
			}
			want := fitted.Decide(h, key)
			if got.Rule != want.Rule || got.Verdict != want.Verdict || got.Undecided != anyMaybe(fitted, h, key) {
				t.Errorf("%s: kernel %+v, ir %+v\nkey %+v", h, got, want, *key)
				return
			}
		}
	}
}

// anyMaybe: the kernel reports an uncertain clause even if another clause of
// the same rule is certain.
func anyMaybe(p *ir.Program, h event.Hook, key *ir.Key) bool {
	for _, r := range p.Rules[h] {
		for _, c := range r.Clauses {
			if c.Maybe && c.Holds(key) {
				return true
			}
		}
	}
	return false
}

package e2e

import (
	"context"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"example.com/bailiff/bpf"
	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy"
	"example.com/bailiff/policy/ir"
)

// agreeInputs is how many inputs all three are asked about, at least.
const agreeInputs = 100_000

// kernelOfNobody is a kernel side of a cgroup in which nobody lives: what it
// decides is asked without any hook.
func kernelOfNobody(t *testing.T) *bpf.Kernel {
	t.Helper()
	cg, err := harness.NewCgroup("bailiff-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cg.Remove() })
	k, err := bpf.Open(context.Background(), bpf.Options{Backend: bpf.BackendTracepoint, Scope: []string{cg.Dir}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	return k
}

// TestAgreement asks OPA, the lowered program and the kernel's own decide about
// the same acts, for every hand-written policy: all that is certain must be the
// same, and what the kernel leaves open must cover what OPA fires beyond.
func TestAgreement(t *testing.T) {
	if os.Geteuid() != 0 || inGuest() {
		t.Skip("needs root, natively: the decision is driven without any hook")
	}
	k := kernelOfNobody(t)
	files, err := filepath.Glob("../policy/testdata/lower/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no policies", err)
	}
	var policies []*policy.Policy
	for _, f := range files {
		a, err := txtar.ParseFile(f)
		if err != nil {
			t.Fatal(err)
		}
		fsys := fstest.MapFS{}
		for _, f := range a.Files {
			if f.Name != "want" {
				fsys[f.Name] = &fstest.MapFile{Data: f.Data}
			}
		}
		// Some of them are there to be refused.
		if p, _, err := policy.LoadFS(context.Background(), fsys, policy.Options{}); err == nil {
			policies = append(policies, p)
		}
	}
	each := agreeInputs/len(policies) + 1
	total, certain, open := 0, 0, 0
	for i, p := range policies {
		gen, err := k.Stage(context.Background(), p.Program())
		if err != nil {
			t.Fatal(err)
		}
		a := agreement{t: t, k: k, gen: gen, p: p, r: rand.New(rand.NewPCG(1, uint64(i)))}
		a.ask(each)
		total, certain, open = total+a.asked, certain+a.certain, open+a.open
		if err := k.Retire(gen); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("policy %s", p.Revision())
		}
	}
	t.Logf("%d inputs, %d policies: %d certain, %d left open", total, len(policies), certain, open)
	if total < agreeInputs || certain == 0 || open == 0 {
		t.Errorf("too little was asked: %d inputs, %d certain, %d left open", total, certain, open)
	}
}

type agreement struct {
	t                    *testing.T
	k                    *bpf.Kernel
	gen                  event.Generation
	p                    *policy.Policy
	r                    *rand.Rand
	asked, certain, open int
}

func (a *agreement) ask(n int) {
	var hooks []event.Hook
	for _, h := range event.Judged {
		if len(a.p.Program().Rules[h]) > 0 {
			hooks = append(hooks, h)
		}
	}
	for _, h := range hooks {
		interesting := a.p.Program().InterestingKeys(h)
		var events []*event.Event
		var keys []*ir.Key
		for range n/len(hooks) + 1 {
			e := a.event(h, interesting)
			events, keys = append(events, e), append(keys, ir.KeyOf(e))
		}
		answers, err := a.k.Try(a.gen, h, keys)
		if err != nil {
			a.t.Fatal(err)
		}
		for i, e := range events {
			if !a.compare(h, e, keys[i], answers[i]) {
				return
			}
		}
	}
}

func (a *agreement) compare(h event.Hook, e *event.Event, key *ir.Key, kernel bpf.Answer) bool {
	a.asked++
	prog := a.p.Program().Decide(h, key)
	opa, err := a.p.Decide(context.Background(), e)
	if err != nil {
		return true // conflicting rules: OPA has no answer to compare with
	}
	bad := func(why string) bool {
		doc, _ := a.p.DocumentJSON(e)
		a.t.Errorf("%s: %s\nOPA %+v\nprogram %+v\nkernel %+v\ninput %s", h, why, opa, prog, kernel, doc)
		return false
	}
	if kernel.Rule != prog.Rule || kernel.Verdict != prog.Verdict {
		return bad("kernel and program differ")
	}
	if len(prog.Undecided) > 0 && !kernel.Undecided {
		return bad("the kernel does not know that it does not know")
	}
	if opa.Verdict < prog.Verdict {
		return bad("the program is sure of more than OPA says")
	}
	if len(prog.Undecided) > 0 {
		a.open++
		return true
	}
	a.certain++
	if opa.Verdict != prog.Verdict || opa.Rule == nil != (prog.Rule < 0) || opa.Rule != nil && !sameRule(a.p.Program().Rules[h], prog.Rule, opa.Rule) {
		return bad("the program is sure, and OPA says otherwise")
	}
	return true
}

// event is an act of a package. It takes each field from one of the values that some condition turns on,
// mostly those of one key so that whole clauses hold.
func (a *agreement) event(h event.Hook, keys []ir.Key) *event.Event {
	var base ir.Key
	if len(keys) > 0 {
		base = keys[a.r.IntN(len(keys))]
	}
	pick := func() *ir.Key {
		if len(keys) == 0 || a.r.IntN(4) > 0 {
			return &base
		}
		return &keys[a.r.IntN(len(keys))]
	}
	num := func(f event.FieldID) uint64 {
		n := pick().Num[f]
		if a.r.IntN(8) == 0 {
			n += uint64(a.r.IntN(3)) - 1
		}
		return n
	}
	path := func(f, name event.FieldID) string {
		k := pick()
		dir, base := "/nowhere/", "x"
		if s := k.Str[f]; len(s) > 0 {
			if a.r.IntN(4) > 0 {
				return s[a.r.IntN(len(s))]
			}
			dir = s[0][:strings.LastIndexByte(s[0], '/')+1]
		}
		if s := k.Str[name]; len(s) > 0 {
			base = s[0]
		}
		return dir + base
	}
	if a.r.IntN(3) == 0 { // one that the package judges besides
		h = any1(a.r, h.Hooks())
	}
	e := &event.Event{Hook: h, CgroupProcs: num(event.FieldCgroupProcs) & (1<<62 - 1), Process: event.Process{
		Exe:    event.File{Path: path(event.FieldExePath, event.FieldExeName)},
		Parent: event.File{Path: path(event.FieldParentPath, event.FieldParentName)},
		UID:    uint32(num(event.FieldUID)), EUID: uint32(num(event.FieldEUID)), GID: uint32(num(event.FieldGID)),
		EGID: uint32(num(event.FieldEGID)), LoginUID: uint32(num(event.FieldLoginUID)),
		CapEff: num(event.FieldCaps) & (1<<41 - 1), CgroupID: num(event.FieldCgroupID) & (1<<62 - 1),
		MntNS: uint32(num(event.FieldMntNS)), PidNS: uint32(num(event.FieldPidNS)), UserNS: uint32(num(event.FieldUserNS)), TTY: uint32(num(event.FieldTTY)),
		Traits: event.FlagNames(event.ProcessTraits, num(event.FieldProcessTraits)),
	}}
	e.Process.Ancestry = append(e.Process.Ancestry, pick().Str[event.FieldAncestors]...)
	if a.r.IntN(4) == 0 {
		e.Process.Ancestry = append(e.Process.Ancestry, path(event.FieldExePath, event.FieldExeName))
	}
	if a.r.IntN(3) > 0 {
		e.Process.Shell = path(event.FieldShell, event.FieldNone)
	}
	if n := len(e.Process.Ancestry); n > 1 && a.r.IntN(2) == 0 { // names of one program
		e.Process.AncestorNames = [][]string{e.Process.Ancestry}
	}
	f := &event.File{Path: path(event.FieldPath, event.FieldName), Mode: uint32(num(event.FieldMode)),
		UID: uint32(num(event.FieldOwner)), GID: uint32(num(event.FieldGroup)), Nlink: uint32(num(event.FieldNlink)),
		FsMagic: num(event.FieldFsMagic) & (1<<62 - 1), DirMode: uint32(num(event.FieldDirMode)), DirUID: uint32(num(event.FieldDirUID)),
		Traits: event.FlagNames(event.Traits, num(event.FieldTraits))}
	e.FileAge = num(event.FieldFileAge) & (1<<62 - 1)
	switch e.Hook {
	case event.HookMmap:
		e.File = f
	case event.HookPtrace:
		e.File, e.Target = f, &event.Target{Traits: event.FlagNames(event.TargetTraits, num(event.FieldTargetTraits))}
	case event.HookExec:
		e.File, e.Exec = f, &event.Exec{Args: a.args(pick), Env: maps.Clone(pick().Env)}
		e.CgroupRate = num(event.FieldExecRate) & (1<<62 - 1)
		e.Process.Stdio = event.FlagNames(event.Stdio, num(event.FieldStdio))
	case event.HookFork:
		e.CgroupRate = num(event.FieldForkRate) & (1<<62 - 1)
		e.Fork = &event.Fork{Flags: num(event.FieldCloneFlags) & (1<<62 - 1)}
	}
	if e.Hook.HasOpenFlags() {
		e.File, e.Open = f, event.FlagNames(event.OpenFlags, num(event.FieldOpenFlags))
	}
	return e
}

// args are arguments of one key, or of two.
func (a *agreement) args(pick func() *ir.Key) []string {
	args := slices.Clone(pick().Str[event.FieldArgs])
	switch a.r.IntN(8) {
	case 0:
		args = append(args, pick().Str[event.FieldArgs]...)
	case 1:
		args = append([]string{"x"}, args...)
	case 2:
		args = args[:a.r.IntN(len(args)+1)]
	}
	return args
}

// sameRule: the kernel's rule is OPA's. Of rules of one kind OPA takes the first
// by id, the kernel the first of those that need not wait for the new image.
func sameRule(rules []ir.Rule, kernel int, opa *event.RuleRef) bool {
	first := slices.IndexFunc(rules, func(r ir.Rule) bool { return r.Ref.ID == opa.ID })
	if first < 0 || first == kernel {
		return first == kernel
	}
	waits := slices.ContainsFunc(rules[first].Clauses, func(c ir.Clause) bool { return c.AtCommit() })
	return waits && !rules[first].Wins(&rules[kernel])
}

package policy

import (
	"bytes"
	"context"
	"math/rand"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/rogpeppe/go-internal/txtar"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
	"example.com/bailiff/policy/lower"
	"example.com/bailiff/rules"
)

// loadUnchecked loads a bundle though its diagnostics would refuse it: what is
// refused must be lowered soundly all the same. nil: it does not compile.
func loadUnchecked(t testing.TB, fsys fstest.MapFS, target lower.Target) *Policy {
	t.Helper()
	ctx := context.Background()
	a, err := OpenFS(fsys, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := a.files
	b, err := f.read()
	if err != nil {
		t.Fatal(err)
	}
	compiler, store, txn, err := a.compile(ctx, b, true)
	if err != nil {
		return nil
	}
	rules, _, err := collect(compiler, f)
	if err != nil {
		t.Fatal(err)
	}
	ids, err := f.identities(ctx, store, txn)
	if err != nil {
		t.Fatal(err)
	}
	src := lower.Source{Compiler: compiler, Store: store, Txn: txn, Identities: ids, Shells: event.Shells()}
	program, deferred, err := lower.Lower(ctx, src, rules, target)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPolicy(ctx, src, rules, program, deferred)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// targets: the real one, one for which all data is big, and one in which almost
// nothing fits, so that every over-approximation is used, and without digests.
func targets() []lower.Target {
	real, big, small := lower.DefaultTarget(), lower.DefaultTarget(), lower.DefaultTarget().Without(event.OnlyAtGate...)
	big.Limits.BigData = 1
	small.Limits.ClausesPerRule = 2
	return []lower.Target{real, big, small}
}

// tally counts what a comparison has seen.
type tally struct{ inputs, certain, excluded, asked, failed int }

// compare judges one event by OPA, rule by rule, and by the lowered program.
func (n *tally) compare(t testing.TB, p *Policy, e *event.Event) bool {
	t.Helper()
	ctx := context.Background()
	if e.Hook == event.HookExec { // the same rules judge it when it is mapped
		mapped := *e
		mapped.Hook, mapped.Exec = event.HookMmap, nil
		if !n.compare(t, p, &mapped) {
			return false
		}
	}
	h := p.hooks[e.Hook.Package()]
	if h == nil {
		return true
	}
	ev := &evaluation{p: p, h: h, hook: e.Hook, ctx: ctx, cancel: topdown.NewCancel()}
	input := p.document.build(&views(e)[0], everyField)
	key := ir.KeyOf(e)
	var fired []int
	for i := range h.rules {
		fires, err := ev.rule(i, input)
		if err != nil {
			n.failed++
			return true // conflicting complete rules: no answer to compare with
		}
		if fires {
			fired = append(fired, i)
		}
		certain, maybe := p.program.Rules[e.Hook.Package()][i].Holds(key)
		n.inputs++
		switch {
		case certain:
			n.certain++
		case maybe:
			n.asked++
		default:
			n.excluded++
		}
		if certain && !fires || fires && !certain && !maybe {
			t.Errorf("unsound: certain %v, maybe %v, OPA %v for rule %d\n%s\ninput %s", certain, maybe, fires, i, text(p), input)
			return false
		}
	}
	d, err := p.Decide(ctx, e)
	if err != nil {
		n.failed++
		return true
	}
	want := event.VerdictAllow
	if len(fired) > 0 {
		want = h.rules[fired[0]].Verdict
	}
	if d.Verdict != want || (len(fired) > 0) != (d.Rule != nil) || len(fired) > 0 && (d.Rule.ID != h.rules[fired[0]].Ref.ID || len(d.Others) != len(fired)-1) {
		t.Errorf("Decide says %v by %v, the rules alone say %v %v\ninput %s", d.Verdict, d.Rule, want, fired, input)
		return false
	}
	if r := p.program.Decide(e.Hook, key); r.Verdict > want || r.Rule >= 0 && r.Verdict == event.VerdictDeny && len(r.Undecided) == 0 && r.Rule != fired[0] {
		t.Errorf("the program says %v by rule %d, OPA %v %v\n%s\ninput %s", r.Verdict, r.Rule, want, fired, text(p), input)
		return false
	}
	return true
}

func text(p *Policy) string {
	var b bytes.Buffer
	for _, m := range sortedKeys(p.src.Compiler.Modules) {
		b.WriteString(string(p.src.Compiler.Modules[m].Package.Location.File) + "\n")
		for _, r := range p.src.Compiler.Modules[m].Rules {
			b.Write(r.Location.Text)
			b.WriteByte('\n')
		}
	}
	_ = ir.Print(&b, p.program)
	return b.String()
}

// world makes random events out of the constants that policies use.
type world struct {
	r     *rand.Rand
	paths []string
	names []string
	nums  []uint64
	ids   []string // identities
	sums  []string // digests

	verities []string // of fs-verity, "" for one that nobody knows
}

func newWorld(r *rand.Rand) *world {
	return &world{r: r, paths: append([]string{"/usr/bin/ls", "/tmp/a.sh", "/tmp/y.log", "[0:1]/memfd:x"}, somePaths...),
		sums: append([]string{"", strings.Repeat("5", 64)}, someDigests...), verities: append([]string{"", event.NoVerity, event.NoVerity, "sha512:" + strings.Repeat("5", 128)}, someVerities...), names: slices.Clone(someNames), nums: []uint64{0, 1, 2, 33, 999, 1000, 1001, 2048, 3, 4294967295, 1<<63 - 1}}
}

// takeNames makes some files have identities.
func (w *world) takeNames(p *Policy) {
	w.ids = nil
	for _, id := range p.program.Identities {
		w.ids = append(w.ids, id.Name)
	}
}

// learn takes over the constants of a policy and its data.
func (w *world) learn(p *Policy) {
	w.takeNames(p)
	visit := func(x *ast.Term) bool {
		switch v := x.Value.(type) {
		case ast.String:
			s := string(v)
			if strings.HasPrefix(s, "/") && len(s) > 1 {
				w.paths = append(w.paths, strings.TrimRight(s, "/"), strings.TrimRight(s, "/")+"/x")
			} else if ir.IsDigest(event.FieldSHA256, s) {
				w.sums = append(w.sums, s)
			} else if ir.IsDigest(event.FieldVerity, s) {
				w.verities = append(w.verities, s)
			} else if !strings.Contains(s, "/") {
				w.names = append(w.names, s)
				w.paths = append(w.paths, "/opt/"+s, "/bin/"+s)
			}
		case ast.Number:
			if n, ok := v.Int64(); ok && n >= 0 {
				w.nums = append(w.nums, uint64(n), uint64(n)+1)
				if n > 0 {
					w.nums = append(w.nums, uint64(n)-1)
				}
			}
		}
		return false
	}
	for _, m := range p.src.Compiler.Modules {
		ast.WalkTerms(m, visit)
	}
	if v, err := p.src.Store.Read(context.Background(), p.src.Txn, nil); err == nil {
		if d, ok := v.(ast.Value); ok {
			ast.WalkTerms(ast.NewTerm(d), visit)
		}
	}
	w.paths = slices.DeleteFunc(w.paths, func(p string) bool { return !strings.HasPrefix(p, "[") && filepath.Clean(p) != p })
}

func (w *world) path() string {
	p := w.paths[w.r.Intn(len(w.paths))]
	switch w.r.Intn(8) {
	case 0:
		return p + "x"
	case 1:
		return p + "/" + ir.BaseName(w.paths[w.r.Intn(len(w.paths))])
	case 2:
		return "/tmp" + strings.TrimPrefix(p, "[0:1]")
	}
	return p
}

// bytes is a text that need not be UTF-8, as arguments need not be.
func (w *world) bytes() string {
	s := ""
	for range w.r.Intn(5) {
		s += oneOf(w.r, "a", "b", "é", "\xff", "\xe2\x82", "\xc3", "K", "\n", "/")
	}
	return s
}

func (w *world) name() string      { return w.names[w.r.Intn(len(w.names))] }
func (w *world) num() uint64       { return w.nums[w.r.Intn(len(w.nums))] }
func (w *world) id() uint32        { return uint32(w.num()) }
func (w *world) mask(n int) uint64 { return w.r.Uint64() & w.r.Uint64() & (1<<n - 1) }

func (w *world) file() event.File {
	return event.File{Identities: event.FlagNames(w.ids, w.mask(len(w.ids))), Path: w.path(), Mode: w.id(), UID: w.id(), GID: w.id(), Nlink: w.id(), FsMagic: w.num(), FsType: w.name(),
		DirMode: w.id(), DirUID: w.id(), Traits: event.FlagNames(event.Traits, w.mask(len(event.Traits)))}
}

// event is an act that the rules of a package judge.
func (w *world) event(h event.Hook) *event.Event {
	if w.r.Intn(3) == 0 {
		h = h.Hooks()[w.r.Intn(len(h.Hooks()))]
	}
	e := &event.Event{Hook: h, CgroupProcs: w.num(), CgroupRate: w.num(), Process: event.Process{
		PID: int32(w.r.Intn(2000)), Exe: w.file(), Parent: event.File{Path: w.path()}, Comm: w.name(), UID: w.id(), EUID: w.id(),
		GID: w.id(), EGID: w.id(), LoginUID: w.id(), CapEff: w.mask(41), CgroupID: w.num(), Cgroup: w.path(), MntNS: w.id(), TTY: w.id(),
		Traits: event.FlagNames(event.ProcessTraits, w.mask(len(event.ProcessTraits))), Stdio: event.FlagNames(event.Stdio, w.mask(len(event.Stdio)))}}
	if w.r.Intn(3) == 0 {
		e.Process.EUID = e.Process.UID
	}
	for range w.r.Intn(4) {
		e.Process.Ancestry = append(e.Process.Ancestry, w.path())
	}
	if w.r.Intn(3) > 0 {
		e.Process.Shell = w.path()
	}
	f := w.file()
	e.FileAge = w.num()
	switch e.Hook {
	case event.HookMmap:
		e.File = &f
	case event.HookPtrace:
		e.File, e.Target = &f, &event.Target{PID: int32(w.r.Intn(2000)), Traits: event.FlagNames(event.TargetTraits, w.mask(len(event.TargetTraits)))}
	case event.HookExec:
		e.File, e.Exec = &f, &event.Exec{Script: w.path(), Cwd: w.path(), Env: map[string]string{}}
		f.SHA256, f.Verity = w.sums[w.r.Intn(len(w.sums))], w.verities[w.r.Intn(len(w.verities))]
		for range w.r.Intn(4) {
			e.Exec.Args = append(e.Exec.Args, oneOf(w.r, w.name(), w.path(), "--privileged", "--dry-run", w.bytes()))
		}
		for _, name := range []string{"LD_PRELOAD", "A", "B"} {
			if w.r.Intn(2) == 0 {
				e.Exec.Env[name] = oneOf(w.r, w.path(), w.name(), "=", w.bytes())
			}
		}
	case event.HookFork:
		e.Fork = &event.Fork{Flags: w.num()}
	}
	if e.Hook.HasOpenFlags() {
		e.File, e.Open = &f, event.FlagNames(event.OpenFlags, w.mask(len(event.OpenFlags)))
	}
	return e
}

// TestSoundHandwritten compares OPA with the lowered form over the policies of
// testdata/lower.
func TestSoundHandwritten(t *testing.T) {
	files, err := filepath.Glob("testdata/lower/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var n tally
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range targets() {
			p := loadUnchecked(t, bundleFS(a), target)
			if p == nil {
				continue
			}
			w := newWorld(newRand(1))
			for range 3 {
				w.learn(p)
			}
			for _, h := range event.Judged {
				for range 200 {
					if p.hooks[h] != nil && !n.compare(t, p, w.event(h)) {
						break
					}
				}
			}
		}
	}
	t.Logf("%+v", n)
}

// TestSoundBaseline does the same over the rules that ship, with events made of
// the paths, names and numbers that they mention.
func TestSoundBaseline(t *testing.T) {
	ctx := context.Background()
	p, _, err := LoadFS(ctx, rules.FS, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(ctx)
	var n tally
	w := newWorld(newRand(1))
	w.learn(p)
	for _, h := range event.Judged {
		for range 1500 {
			if !n.compare(t, p, w.event(h)) {
				break
			}
		}
	}
	if t.Logf("%+v", n); n.certain < 1000 {
		t.Errorf("only %d answers were certain: the events do not reach the rules", n.certain)
	}
}

// TestSoundRandom does the same over random policies. The seeds are fixed, so
// that a failure can be repeated; with the hand-written policies there are more
// than 100,000 comparisons.
func TestSoundRandom(t *testing.T) {
	policies, events := 450, 30
	if testing.Short() {
		policies = 60
	}
	var n tally
	skipped := 0
	for seed := range policies {
		if !soundSeed(t, int64(seed), events, &n) {
			skipped++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%+v, %d of %d policies do not compile", n, skipped, policies)
	if !testing.Short() && n.inputs < 60_000 {
		t.Errorf("only %d comparisons", n.inputs)
	}
}

func soundSeed(t testing.TB, seed int64, events int, n *tally) bool {
	r := newRand(seed)
	hook := event.Judged[r.Intn(len(event.Judged))]
	g := &author{r: r, v2: seed%2 == 1}
	fsys := fstest.MapFS{
		"policy.rego": {Data: []byte(g.policy(hook.String()))},
		"data.json":   {Data: []byte(randomData)},
	}
	for _, target := range targets() {
		p := loadUnchecked(t, fsys, target)
		if p == nil {
			return false
		}
		w := newWorld(newRand(seed))
		w.takeNames(p)
		for range events {
			if !n.compare(t, p, w.event(hook)) {
				return true
			}
		}
	}
	return true
}

// FuzzLower looks for a policy and an event on which OPA and the lowered form
// disagree.
func FuzzLower(f *testing.F) {
	for seed := range int64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed int64) {
		var n tally
		soundSeed(t, seed, 10, &n)
	})
}

func newRand(seed int64) *rand.Rand { return rand.New(rand.NewSource(seed)) }

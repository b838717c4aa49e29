package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"example.com/bailiff/bpf"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy"
	"example.com/bailiff/policy/ir"
)

// envSoundness is how many pairs of a policy and an input TestSoundness compares;
// `make soundness` sets it.
const envSoundness = "BAILIFF_E2E_SOUNDNESS"

const (
	soundPairs = 9_000   // when nobody says how many
	soundWhole = 100_000 // from here on the rules of each field must have fired, and not
)

// TestSoundness asks OPA and the kernel's tables about random inputs under
// random policies over all fields of the input document. Where the kernel answers
// for itself OPA must say the same; where it leaves the answer open, asking OPA
// only about the rules that the prefilter lets through must not lose one that
// fires. A field that no rule has read fails the test, and in a long run one
// whose rules always or never fired: a new field is covered or noticed.
func TestSoundness(t *testing.T) {
	if os.Geteuid() != 0 || inGuest() {
		t.Skip("needs root, natively: the decision is driven without any hook")
	}
	pairs := soundPairs
	if s := os.Getenv(envSoundness); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		pairs = n
	}
	k := kernelOfNobody(t)
	s := &soundness{t: t, k: k, fields: map[string]*fieldTally{}, each: min(250, pairs/90), whole: pairs >= soundWhole}
	for _, f := range event.Fields {
		s.fields[f.Path] = &fieldTally{}
	}
	start := time.Now()
	for seed := uint64(1); s.pairs < pairs && !t.Failed(); seed++ {
		s.policy(seed)
	}
	s.report(time.Since(start))
}

// fieldTally counts pairs of which a rule of the policy reads the field.
type fieldTally struct{ pairs, fired, silent int }

type soundness struct {
	t      *testing.T
	k      *bpf.Kernel
	seed   uint64
	r      *rand.Rand
	hook   event.Hook
	next   [event.HookOpen + 1]int // field whose turn it is, by hook
	fields map[string]*fieldTally
	each   int // inputs for one policy
	whole  bool

	helpers []string // rules of the policy that is written

	policies, refused, pairs, sure, open, rules, several int
}

// policy compares one random policy over one hook with as many inputs as there are for each.
func (s *soundness) policy(seed uint64) {
	s.seed, s.r = seed, rand.New(rand.NewPCG(seed, 7))
	s.hook = event.Judged[seed%uint64(len(event.Judged))]
	text, reads := s.rego()
	fsys := fstest.MapFS{"rules.rego": {Data: []byte(text)}, "data.json": {Data: []byte(soundData)}}
	p, _, err := policy.LoadFS(context.Background(), fsys, policy.Options{})
	if err != nil {
		// A rule that holds always is refused, rightly. Nothing else may be.
		if s.refused++; !strings.Contains(err.Error(), "L001") {
			s.t.Errorf("seed %d: %v\n%s", seed, err, text)
		}
		return
	}
	defer p.Close(context.Background())
	s.policies++
	gen, err := s.k.Stage(context.Background(), p.Program())
	if err != nil {
		s.t.Fatalf("seed %d: %v\n%s", seed, err, text)
	}
	defer func() {
		if err := s.k.Retire(gen); err != nil {
			s.t.Fatal(err)
		}
	}()
	var events []*event.Event
	var keys []*ir.Key
	for range s.each {
		act := s.hook
		if s.r.IntN(3) == 0 { // or one that the package judges besides
			act = any1(s.r, s.hook.Hooks())
		}
		e, err := policy.EventOf(act, s.input(act))
		if err != nil {
			s.t.Fatal(err)
		}
		if act == event.HookExec && s.r.IntN(5) == 0 {
			e.File.Verity = "" // nobody knows
		}
		s.nameAncestors(&e.Process)
		events, keys = append(events, e), append(keys, ir.KeyOf(e))
	}
	answers, err := s.k.Try(gen, s.hook, keys)
	if err != nil {
		s.t.Fatal(err)
	}
	for i, e := range events {
		if !s.compare(p, e, answers[i], reads) {
			s.t.Logf("seed %d\n%s", seed, text)
			return
		}
	}
}

// nameAncestors makes of two ancestors, now and then, two names of one.
func (s *soundness) nameAncestors(p *event.Process) {
	if len(p.Ancestry) < 2 || s.r.IntN(2) == 0 {
		return
	}
	s.several++
	p.AncestorNames = [][]string{p.Ancestry[:2]}
	for _, a := range p.Ancestry[2:] {
		p.AncestorNames = append(p.AncestorNames, []string{a})
	}
}

// compare holds the kernel's answer about one act against OPA's. reads lists the
// fields of each rule, by its id.
func (s *soundness) compare(p *policy.Policy, e *event.Event, kernel bpf.Answer, reads map[string][]string) bool {
	ctx := context.Background()
	s.pairs++
	opa, err := p.Decide(ctx, e)
	if err != nil {
		s.t.Error(err)
		return false
	}
	fired := map[string]bool{}
	if opa.Rule != nil {
		fired[opa.Rule.ID] = true
	}
	for _, o := range opa.Others {
		fired[o.ID] = true
	}
	for id, fields := range reads {
		s.rules++
		for _, f := range fields {
			n := s.fields[f]
			n.pairs++
			if fired[id] {
				n.fired++
			} else {
				n.silent++
			}
		}
	}
	bad := func(why string) bool {
		doc, _ := p.DocumentJSON(e)
		s.t.Errorf("%s: %s\nOPA %v by %v, also %v\nkernel %+v\ninput %s", s.hook, why, opa.Verdict, opa.Rule, opa.Others, kernel, doc)
		return false
	}
	id := ""
	if kernel.Rule >= 0 {
		if id = p.Program().Rules[s.hook][kernel.Rule].Ref.ID; !fired[id] {
			return bad("the kernel is sure of a rule that OPA says does not fire")
		}
	}
	if !kernel.Undecided {
		s.sure++
		if opa.Verdict != kernel.Verdict || opa.Rule == nil != (kernel.Rule < 0) || opa.Rule != nil && !sameRule(p.Program().Rules[s.hook], kernel.Rule, opa.Rule) {
			return bad("the kernel is sure, and OPA says otherwise")
		}
		return true
	}
	s.open++
	rules, key := p.Program().Rules[s.hook], ir.KeyOf(e)
	if slices.ContainsFunc(rules, func(r ir.Rule) bool { return r.Blind(key) }) {
		return true // without a digest there is no answer: what OPA says of "" is none
	}
	asked := *e
	asked.Decision.Undecided = true
	part, err := p.Decide(ctx, &asked)
	if err != nil {
		s.t.Error(err)
		return false
	}
	if part.Verdict != opa.Verdict || len(part.Others) != len(opa.Others) || part.Rule != nil && part.Rule.ID != opa.Rule.ID {
		return bad(fmt.Sprintf("the prefilter lost a rule: %v by %v, also %v", part.Verdict, part.Rule, part.Others))
	}
	return true
}

// report prints what was compared, and fails for a field that was not exercised.
func (s *soundness) report(took time.Duration) {
	if s.t.Failed() {
		return
	}
	s.t.Logf("%d pairs of a policy and an input (%d policies, %d more refused for a rule that holds always), %d answers for a rule, in %v: the kernel was sure of %d, left %d open; no disagreement",
		s.pairs, s.policies, s.refused, s.rules, took.Round(time.Second), s.sure, s.open)
	kinds := map[string]*fieldTally{}
	for _, f := range event.Fields {
		n := s.fields[f.Path]
		where := "OPA only"
		if f.ID != event.FieldNone {
			where = "kernel"
		}
		kind := kindNames[f.Kind] + ", " + where
		if kinds[kind] == nil {
			kinds[kind] = &fieldTally{}
		}
		kinds[kind].pairs += n.pairs
		kinds[kind].fired += n.fired
		kinds[kind].silent += n.silent
		if n.pairs == 0 || s.whole && (n.fired == 0 || n.silent == 0) {
			s.t.Errorf("input.%s was not exercised: read in %d pairs, its rules fired in %d and did not in %d", f.Path, n.pairs, n.fired, n.silent)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		n := kinds[kind]
		s.t.Logf("%-28s %9d answers of rules that read one: %d fired, %d did not", kind, n.pairs, n.fired, n.silent)
	}
	if s.sure == 0 || s.open == 0 || s.several == 0 {
		s.t.Errorf("too little was asked: %d sure, %d open, %d with an ancestor of several names", s.sure, s.open, s.several)
	}
}

var kindNames = map[event.Kind]string{event.KindString: "string", event.KindPath: "path", event.KindInt: "number", event.KindFlags: "flags",
	event.KindPaths: "list of paths", event.KindList: "list of strings", event.KindMap: "object of strings", event.KindNames: "names", event.KindEnum: "name of an act", event.KindDigest: "digest"}

package enforcer

import (
	"slices"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Former generations still answer for events that were on their way when the
// policy changed: so many of them, for so long. A large one takes much memory.
const (
	keepGenerations = 4
	keepFor         = 10 * time.Second
)

// installed is a policy with the generation that the kernel gave it.
type installed struct {
	policy   Policy
	program  *ir.Program // of the policy, with the modes of rules
	revision string
	gen      Generation
	since    time.Time // when it became active
	until    time.Time // when it ceased to be that; under Enforcer.gensMu
	rules    RuleCount
	known    map[ruleKey]knownRule
	weak     map[event.Hook][]int // see Weakener
	cache    *cache
	held     []int              // rules on execs that the gate answers for, in the order in which they win
	digested []restsOn          // by rule on execs: digests that its answer needs
	given    []event.GivenParts // by rule on execs: what it needs of that which the exec is given
	answers  heldAnswers        // of the gate
}

// ruleKey is what tells rules apart: an id may be given to several.
type ruleKey struct {
	hook           event.Hook
	id, path, file string
	line           int
}

func keyOfRule(h event.Hook, r *event.RuleRef) ruleKey {
	return ruleKey{h.Package(), r.ID, r.Path, r.File, r.Line}
}

// knownRule is a rule of the program, with its place in the order of winning.
type knownRule struct {
	*ir.Rule
	order    int
	deferred bool // the kernel cannot always decide it
	mixed    bool // but for some acts it can
}

// RuleCount says how the rules of a program are decided.
type RuleCount struct {
	Lowered     int `json:"lowered"`     // by kernel tables alone
	Held        int `json:"held"`        // by the policy engine, before the act: the exec waits
	Prefiltered int `json:"prefiltered"` // by the policy engine, for acts that pass the kernel's part of the conditions
	Deferred    int `json:"deferred"`    // by the policy engine, for every act of the hook
}

func (e *Enforcer) newInstalled(p Policy, program *ir.Program, g Generation) *installed {
	in := &installed{
		policy:   p,
		program:  program,
		revision: p.Revision(),
		gen:      g,
		known:    map[ruleKey]knownRule{},
		cache:    newCache(e.CacheSize),
	}
	if w, ok := e.Kernel.(Weakener); ok {
		in.weak = w.Weakened(g)
	}
	for hook, rules := range program.Rules {
		for i := range rules {
			r := &rules[i]
			maybe, certain, always := false, false, false
			for _, c := range r.Clauses {
				certain = certain || !c.Maybe
				maybe = maybe || c.Maybe
				always = always || (c.Maybe && len(c.When) == 0)
			}
			maybe = maybe || slices.Contains(in.weak[hook], i)
			switch {
			case maybe && r.Held():
				in.rules.Held++
			case always:
				in.rules.Deferred++
			case maybe:
				in.rules.Prefiltered++
			default:
				in.rules.Lowered++
			}
			in.known[keyOfRule(hook, &r.Ref)] = knownRule{r, i, maybe, maybe && certain}
		}
	}
	in.held, in.answers.max = in.heldRules(), e.CacheSize
	in.digested = digestRules(program)
	in.given = givenRules(program)
	return in
}

// isWeak reports whether the kernel holds less of a rule than the program says.
func (in *installed) isWeak(h event.Hook, rule int) bool {
	return slices.Contains(in.weak[h.Package()], rule)
}

// generation returns the policy of a generation, nil if it is not known (any
// more).
func (e *Enforcer) generation(g Generation) *installed {
	e.gensMu.RLock()
	defer e.gensMu.RUnlock()
	return e.gens[g]
}

// addGeneration makes a generation known before it is active, so that the
// first event that names it finds it.
func (e *Enforcer) addGeneration(in *installed) {
	e.gensMu.Lock()
	defer e.gensMu.Unlock()
	e.gens[in.gen] = in
	e.genOrder = append(e.genOrder, in.gen)
	for len(e.genOrder) > keepGenerations+1 {
		delete(e.gens, e.genOrder[0])
		e.genOrder = e.genOrder[1:]
	}
}

// replaced notes that a generation is not the active one any more.
func (e *Enforcer) replaced(in *installed) {
	e.gensMu.Lock()
	defer e.gensMu.Unlock()
	in.until = e.Now()
}

// forgetGenerations lets go of those that nothing on its way can name any more:
// not even a reader that lags behind reads what they decided.
func (e *Enforcer) forgetGenerations() {
	now := e.Now().Add(-time.Duration(e.lag.Load()))
	e.gensMu.Lock()
	defer e.gensMu.Unlock()
	e.genOrder = slices.DeleteFunc(e.genOrder, func(g Generation) bool {
		in := e.gens[g]
		old := !in.until.IsZero() && now.Sub(in.until) > keepFor
		if old {
			delete(e.gens, g)
		}
		return old
	})
}

// dropGeneration forgets one that never became active.
func (e *Enforcer) dropGeneration(g Generation) {
	e.gensMu.Lock()
	defer e.gensMu.Unlock()
	delete(e.gens, g)
	if n := len(e.genOrder); n > 0 && e.genOrder[n-1] == g {
		e.genOrder = e.genOrder[:n-1]
	}
}

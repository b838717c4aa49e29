package policy

import (
	"fmt"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Share says for how many of the acts of a rule's hook OPA is asked because of
// the rule.
type Share struct {
	Asked uint64 `json:"asked"`
	Acts  uint64 `json:"acts"`
}

func (s Share) String() string {
	if s.Acts == 0 {
		return "OPA: no such act was seen"
	}
	return fmt.Sprintf("OPA is asked for %d of %d acts (%.3g %%)", s.Asked, s.Acts, 100*float64(s.Asked)/float64(s.Acts))
}

// Shares counts, over recorded acts, what reaches OPA. It is for one goroutine.
type Shares struct {
	p     *Policy
	acts  map[event.Hook]uint64
	asked map[event.Hook][]uint64 // by rule
}

// NewShares begins a count.
func (p *Policy) NewShares() *Shares {
	s := &Shares{p: p, acts: map[event.Hook]uint64{}, asked: map[event.Hook][]uint64{}}
	for h, rules := range p.program.Rules {
		s.asked[h] = make([]uint64, len(rules))
	}
	return s
}

// Add counts one act.
func (s *Shares) Add(e *event.Event) {
	h := e.Hook.Package()
	s.acts[h]++
	for _, i := range s.p.program.Decide(e.Hook, ir.KeyOf(e)).Undecided {
		s.asked[h][i]++
	}
}

// Into writes the shares into what Explain of the same policy returned.
func (s *Shares) Into(rules []ExplainedRule) {
	next := map[event.Hook]int{}
	for i := range rules {
		h := rules[i].Hook
		rules[i].Share = &Share{Asked: s.asked[h][next[h]], Acts: s.acts[h]}
		next[h]++
	}
}

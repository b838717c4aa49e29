package enforcer

import (
	"context"
	"errors"
	"slices"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// givenRules says for each rule on execs what of that which an exec is given the answer
// needs.
func givenRules(p *ir.Program) []event.GivenParts {
	rules := p.Rules[event.HookExec]
	out := make([]event.GivenParts, len(rules))
	for i := range out {
		out[i] = rules[i].ReadsGiven()
	}
	return out
}

// givenKey is the key of an answer about an exec that is given these texts.
type givenKey struct{ key, texts any }

// given adds to the event what the new image will be given, if rules that may hold read
// it.
func (h *Held) given(ctx context.Context) error {
	if !slices.ContainsFunc(h.open, func(i int) bool { return h.in.given[i] != event.GivenParts{} }) {
		return nil
	}
	// All that any rule reads: a script and its interpreter, about which others may be
	// asked, are compared by the same.
	var reads event.GivenParts
	for _, g := range h.in.given {
		reads = reads.Or(g)
	}
	if h.e.Given == nil {
		return errors.New("nobody reads it")
	}
	t, err := h.e.Given(ctx, h.fd, h.ev.Process.TID, reads)
	if err != nil {
		return err
	}
	texts, err := h.e.Kernel.(Gatekeeper).GiveAtGate(h.ev, t)
	if err != nil {
		return err
	}
	if h.key != nil {
		h.key = givenKey{h.key, texts}
	}
	return nil
}

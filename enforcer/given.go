package enforcer

import (
	"context"
	"errors"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// readsGiven says what of that which an exec is given the answer of a held rule needs.
type readsGiven struct{ args, env bool }

// givenRules says it for each rule on execs.
func givenRules(p *ir.Program) []readsGiven {
	rules := p.Rules[event.HookExec]
	out := make([]readsGiven, len(rules))
	for i := range out {
		out[i].args, out[i].env = rules[i].ReadsGiven()
	}
	return out
}

// givenKey is the key of an answer about an exec that is given these texts.
type givenKey struct{ key, texts any }

// given adds to the event what the new image will be given, if rules that may hold read
// it.
func (h *Held) given(ctx context.Context) error {
	var reads readsGiven
	for _, i := range h.open {
		reads.args = reads.args || h.in.given[i].args
		reads.env = reads.env || h.in.given[i].env
	}
	if reads == (readsGiven{}) {
		return nil
	}
	if h.e.Given == nil {
		return errors.New("nobody reads it")
	}
	t, err := h.e.Given(ctx, h.fd, h.ev.Process.TID, reads.env)
	if err != nil {
		return err
	}
	if !reads.args {
		t.Args = nil
	}
	texts := h.e.Kernel.(Gatekeeper).GiveAtGate(h.ev, t)
	if h.key != nil {
		h.key = givenKey{h.key, texts}
	}
	return nil
}

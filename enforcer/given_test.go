package enforcer

import (
	"context"
	"errors"
	"testing"

	"example.com/bailiff/internal/event"
)

// givenKernel is told what execs are given, and of waivers.
type givenKernel struct {
	*fakeKernel
	given  []event.Given
	waived int
}

func (k *givenKernel) AtGate(Generation, int, int32) (*event.Event, any, error) {
	return nil, nil, errors.ErrUnsupported
}
func (k *givenKernel) RememberHeld(Generation, *event.Event, event.Verdict, bool) error { return nil }
func (k *givenKernel) GiveAtGate(_ *event.Event, t event.Given) (any, error) {
	k.given = append(k.given, t)
	return string(t.Args) + "|" + string(t.Env), nil
}

func (k *givenKernel) WaiveAtGate(_ *event.Event, mark func() error) error {
	k.waived++
	return mark()
}

// TestGateGiven: what an exec is given is read where some open rule reads it, and all that
// any rule does; it is part of the key.
func TestGateGiven(t *testing.T) {
	in := &installed{given: []event.GivenParts{{}, {Args: true}, {Env: true, Cwd: true}}}
	for _, tt := range []struct {
		open       []int
		fails, key bool
	}{
		{open: []int{0}},
		{open: []int{0, 1}, key: true},
		{open: []int{2}, key: true},
		{open: []int{1}, fails: true},
	} {
		k := &givenKernel{fakeKernel: newFakeKernel()}
		e := &Enforcer{Options: Options{Kernel: k, Given: func(_ context.Context, _ int, tid int32, want event.GivenParts) (event.Given, error) {
			if tid != 7 || want != (event.GivenParts{Args: true, Env: true, Cwd: true}) {
				t.Errorf("asked of thread %d, %+v", tid, want)
			}
			if tt.fails {
				return event.Given{}, errors.New("no memory")
			}
			return event.Given{Args: []byte("a\x00"), Env: []byte("A=b\x00")}, nil
		}}}
		h := &Held{e: e, in: in, ev: execOf(1, "/opt/a"), key: "key", open: tt.open}
		h.ev.Process.TID = 7
		err := h.given(t.Context())
		if (err != nil) != tt.fails || (h.key != "key") != tt.key || (len(k.given) == 1) != tt.key {
			t.Errorf("%+v: %v, key %v, given %v", tt, err, h.key, k.given)
		}
	}
}

// TestWaive: a question is waived where no rule fired and the answer does not rest on the
// content of the file.
func TestWaive(t *testing.T) {
	deny := &heldAnswer{part: &event.Decision{Verdict: event.VerdictDeny}}
	for _, tt := range []struct {
		h    *Held
		want bool
	}{
		{&Held{ev: execOf(1, "/opt/a"), answer: &heldAnswer{}}, true},
		{&Held{ev: execOf(1, "/opt/a"), answer: &heldAnswer{}, measured: true}, false},
		{&Held{ev: execOf(1, "/opt/a"), answer: deny}, false},
		{&Held{ev: execOf(1, "/opt/a")}, false},
		{&Held{answer: &heldAnswer{}}, false},
	} {
		k := &givenKernel{fakeKernel: newFakeKernel()}
		tt.h.e = &Enforcer{Options: Options{Kernel: k}}
		marked := false
		tt.h.Waive(func() error { marked = true; return nil })
		if marked != tt.want || (k.waived == 1) != tt.want {
			t.Errorf("waived %v, want %v", marked, tt.want)
		}
	}
}

package aside

import (
	"context"
	"testing"
)

func TestDo(t *testing.T) {
	g := make(Group, 1)
	if ran := false; !g.Do(t.Context(), func() { ran = true }) || !ran {
		t.Error("what comes back did not")
	}
	ctx, cancel := context.WithCancel(t.Context())
	stuck, begun := make(chan struct{}), make(chan struct{})
	go func() { <-begun; cancel() }()
	if g.Do(ctx, func() { close(begun); <-stuck }) {
		t.Error("what does not come back did")
	}
	// The only place is taken until it does.
	if g.Do(ctx, func() { t.Error("there was no room") }) {
		t.Error("done without room")
	}
	close(stuck)
	if !g.Do(t.Context(), func() {}) {
		t.Error("the place was not given back")
	}
}

package enforcer

import (
	"context"
	"sync"

	"example.com/bailiff/internal/event"
)

// heldAnswer is what the held rules say: nil allows.
type heldAnswer struct{ part *event.Decision }

func (a *heldAnswer) verdict() event.Verdict {
	if a.part == nil {
		return event.VerdictAllow
	}
	return event.VerdictDeny
}

// heldAnswers keeps the answers of one generation by the kernel's key, which
// has the file's change time, size and version in it. One evaluation serves all
// who ask for the same key meanwhile. It holds at most max answers; one more
// pushes out any other, which is then asked for again: nobody gets a verdict by
// filling it up. An error is kept by nobody.
type heldAnswers struct {
	mu  sync.Mutex
	max int
	m   map[any]*heldFlight
}

type heldFlight struct {
	done chan struct{}
	ans  *heldAnswer // nil when done: there was an error
}

// get returns the answer for a key, from ask if it is not known; shared says
// that it was. nil: no answer, or not before ctx ended. A nil key is never kept.
func (h *heldAnswers) get(ctx context.Context, key any, ask func() (*heldAnswer, error)) (ans *heldAnswer, shared bool) {
	if key == nil {
		ans, err := ask()
		if err != nil {
			return nil, false
		}
		return ans, false
	}
	h.mu.Lock()
	f, ok := h.m[key]
	if ok {
		h.mu.Unlock()
		select {
		case <-f.done:
			return f.ans, true
		case <-ctx.Done():
			return nil, true
		}
	}
	if h.m == nil {
		h.m = map[any]*heldFlight{}
	}
	if len(h.m) >= h.max {
		for k := range h.m {
			delete(h.m, k)
			break
		}
	}
	f = &heldFlight{done: make(chan struct{})}
	h.m[key] = f
	h.mu.Unlock()

	ans, err := ask()
	if err == nil {
		f.ans = ans
	} else {
		h.mu.Lock()
		if h.m[key] == f {
			delete(h.m, key)
		}
		h.mu.Unlock()
	}
	close(f.done)
	return f.ans, false
}

package decisionlog

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
)

// maskOp removes a part of input or result, or puts something else there, as
// the masks of OPA do.
type maskOp struct {
	pointer string
	path    []string
	with    any
	upsert  bool
}

// parseMask reads "/input/args" (remove) or "/input/process/comm=hidden" (put
// that there instead).
func parseMask(s string) (maskOp, error) {
	pointer, with, upsert := strings.Cut(s, "=")
	op := maskOp{pointer: pointer, with: with, upsert: upsert}
	if pointer != "/input" && pointer != "/result" && !strings.HasPrefix(pointer, "/input/") && !strings.HasPrefix(pointer, "/result/") {
		return op, fmt.Errorf("mask %q: it must begin with /input or /result", s)
	}
	for _, part := range strings.Split(pointer[1:], "/") {
		key, err := url.PathUnescape(part)
		if err != nil || key == "" {
			return op, fmt.Errorf("mask %q: %q is no part of a path", s, part)
		}
		op.path = append(op.path, key)
	}
	return op, nil
}

// apply changes the entry, and lists what it did. What is not there stays so.
func (op *maskOp) apply(x *entry) {
	top := &x.Input
	if op.path[0] == "result" {
		top = &x.Result
		plain(top)
	}
	if len(op.path) == 1 {
		*top = nil
		if op.upsert {
			*top = op.with
		}
		op.done(x)
		return
	}
	at, _ := (*top).(map[string]any)
	for _, k := range op.path[1 : len(op.path)-1] {
		at, _ = at[k].(map[string]any)
	}
	last := op.path[len(op.path)-1]
	if _, there := at[last]; !there {
		return
	}
	if op.upsert {
		at[last] = op.with
	} else {
		delete(at, last)
	}
	op.done(x)
}

func (op *maskOp) done(x *entry) {
	if op.upsert {
		x.Masked = append(x.Masked, op.pointer)
	} else {
		x.Erased = append(x.Erased, op.pointer)
	}
}

// plain makes objects of what was structs, so that paths lead into them.
func plain(v *any) {
	b, err := json.Marshal(*v)
	if err != nil {
		return // a result is always JSON
	}
	var out any
	if json.Unmarshal(b, &out) == nil {
		*v = out
	}
}

package enforcer

import (
	"context"
	"errors"
	"slices"
	"sync"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// digestRules says for each rule on execs whether it needs the file's digest.
func digestRules(p *ir.Program) []bool {
	out := make([]bool, len(p.Rules[event.HookExec]))
	for i := range out {
		for _, c := range p.Rules[event.HookExec][i].Clauses {
			out[i] = out[i] || c.ReadsDigest()
		}
	}
	return out
}

// blind reports whether some rule on an exec cannot be decided by anybody: it reads
// the file's digest, which neither kernel nor gate could compute.
func (in *installed) blind(ev *event.Event) bool {
	if ev.Hook != event.HookExec || ev.File == nil || ev.File.SHA256 != "" || !slices.Contains(in.digested, true) {
		return false
	}
	k := ir.KeyOf(ev)
	rules := in.program.Rules[event.HookExec]
	return slices.ContainsFunc(rules, func(r ir.Rule) bool { return r.Blind(k) })
}

// digestKey is the key of an answer that may rest on the content: what the
// kernel's key says of the file does not tell all changes.
type digestKey struct {
	key any
	sum string
}

// digest gives the event the file's digest, if a rule that may hold reads it.
func (h *Held) digest(ctx context.Context) error {
	if !slices.ContainsFunc(h.open, func(i int) bool { return h.in.digested[i] }) {
		return nil
	}
	if h.e.Digest == nil {
		return errors.New("nobody computes digests")
	}
	sum, err := h.e.Digest(ctx, h.fd)
	if err != nil {
		return err
	}
	f := *h.ev.File // others have it too
	f.SHA256 = sum
	h.ev.File = &f
	if h.key != nil {
		h.key = digestKey{h.key, sum}
	}
	h.e.sums.note(f.ID, sum)
	return nil
}

// maxJudged bounds digests. One that is pushed out is missing in a record.
const maxJudged = 4096

// digests are those that the gate judged last, for the records of the hook,
// which has none.
type digests struct {
	mu sync.Mutex
	of map[event.FileID]string
}

func (d *digests) note(id event.FileID, sum string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil || len(d.of) >= maxJudged {
		d.of = map[event.FileID]string{}
	}
	d.of[id] = sum
}

// complete adds the digest to the record of an exec about which the gate's
// verdict was found: the hook has compared the file.
func (d *digests) complete(ev *event.Event) {
	if ev.Hook != event.HookExec || ev.Decision.Source != event.SourceGate || ev.File == nil {
		return
	}
	d.mu.Lock()
	sum := d.of[ev.File.ID]
	d.mu.Unlock()
	if sum != "" {
		f := *ev.File
		f.SHA256 = sum
		ev.File = &f
	}
}

package enforcer

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// restsOn says which digests of the file the answer of a rule rests on.
type restsOn struct{ sum, verity bool }

// digestRules says it for each rule on execs.
func digestRules(p *ir.Program) []restsOn {
	rules := p.Rules[event.HookExec]
	out := make([]restsOn, len(rules))
	for i := range out {
		out[i] = restsOn{rules[i].RestsOn(event.FieldSHA256), rules[i].RestsOn(event.FieldVerity)}
	}
	return out
}

// blind reports whether some rule on an exec cannot be decided by anybody: it reads
// a digest of the file that neither kernel nor gate could get.
func (in *installed) blind(ev *event.Event) bool {
	if ev.Hook != event.HookExec || ev.File == nil || !slices.ContainsFunc(in.digested, func(r restsOn) bool {
		return r.sum && ev.File.SHA256 == "" || r.verity && ev.File.Verity == ""
	}) {
		return false
	}
	k := ir.KeyOf(ev)
	rules := in.program.Rules[event.HookExec]
	return slices.ContainsFunc(rules, func(r ir.Rule) bool { return r.Blind(k) })
}

// digestKey is the key of an answer that may rest on the content: what the
// kernel's key says of the file does not tell all changes.
type digestKey struct {
	key  any
	sums fileDigests
}

// fileDigests are those of one file, as an event has them.
type fileDigests struct{ sum, verity string }

// digest gives the event the digests of the file that rules which may hold read.
func (h *Held) digest(ctx context.Context) (err error) {
	var reads restsOn
	for _, i := range h.open {
		reads.sum = reads.sum || h.in.digested[i].sum
		reads.verity = reads.verity || h.in.digested[i].verity
	}
	if reads == (restsOn{}) {
		return nil
	}
	h.measured = true
	var got fileDigests
	if reads.verity {
		if got.verity, err = h.verity(); err != nil {
			return err
		}
	}
	if reads.sum {
		if h.e.Digest == nil {
			return errors.New("nobody computes digests")
		}
		if got.sum, err = h.e.Digest(ctx, h.fd); err != nil {
			return err
		}
	}
	f := *h.ev.File // others have it too
	f.SHA256, f.Verity = got.sum, got.verity
	h.ev.File = &f
	if h.key != nil {
		h.key = digestKey{h.key, got}
	}
	h.e.sums.note(f.ID, got)
	return nil
}

func (h *Held) verity() (string, error) {
	if h.e.Verity == nil {
		return "", errors.New("nobody measures fs-verity")
	}
	verity, err := h.e.Verity(h.fd, h.ev.File.FsMagic)
	if err != nil {
		return "", err
	}
	return cmp.Or(verity, event.NoVerity), nil
}

// maxJudged bounds digests. One that is pushed out is missing in a record.
const maxJudged = 4096

// digests are those that the gate judged last, for the records of the hook,
// which has none.
type digests struct {
	mu sync.Mutex
	of map[event.FileID]fileDigests
}

func (d *digests) note(id event.FileID, got fileDigests) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil || len(d.of) >= maxJudged {
		d.of = map[event.FileID]fileDigests{}
	}
	d.of[id] = got
}

// complete adds the digests to the record of an exec about which the gate's
// verdict was found: the hook has compared the file.
func (d *digests) complete(ev *event.Event) {
	if ev.Hook != event.HookExec || ev.Decision.Source != event.SourceGate || ev.File == nil {
		return
	}
	d.mu.Lock()
	got := d.of[ev.File.ID]
	d.mu.Unlock()
	if got != (fileDigests{}) {
		f := *ev.File
		// One may be the kernel's own.
		f.SHA256, f.Verity = cmp.Or(f.SHA256, got.sum), cmp.Or(f.Verity, got.verity)
		ev.File = &f
	}
}

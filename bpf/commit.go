package bpf

import "example.com/bailiff/internal/event"

// commitConf makes the row of clauses that wait for arguments and environment.
// They are bits of the exec row.
func (t *tables) commitConf() {
	hb, hc := &t.hooks[event.HookExec-1], &t.conf[rowCommit]
	if hb.late == 0 {
		return
	}
	hc.Clauses = uint32(hb.late)
	t.commitWords = ^uint64(0) >> (64 - hb.late/64)
	t.categories(hb, hc, 0, uint32(hb.late))
	hc.KillVec = t.conf[event.HookExec-1].KillVec
	hc.Key = keyNone
	for _, d := range t.textDims(hb) {
		hc.Subject[hc.SubjectDims] = t.dim(hb, d)
		hc.SubjectDims++
	}
	for _, d := range hb.budget.commit {
		hc.Object[hc.ObjectDims] = t.dim(hb, d)
		hc.ObjectDims++
	}
	t.texts, t.text = hb.budget.texts.build()
}

// textDims splits the bits of tests of text into dimensions of a few bits each.
// Beside them are the bits that say that not all was seen.
func (t *tables) textDims(hb *hookBits) []numberDim {
	var out []numberDim
	ts := hb.budget.texts
	for from := 0; from < len(ts.conds); from += maxFlagBits {
		n := min(maxFlagBits, len(ts.conds)-from)
		d := numberDim{mask: (1<<n - 1) << from, bits: true, text: true}
		for _, c := range ts.conds[from : from+n] {
			if c.Field == event.FieldEnv {
				d.mask |= textEnvCut
			} else {
				d.mask |= textArgsCut
			}
		}
		out = append(out, d)
	}
	return out
}

// commits says what is to be done when an exec has succeeded.
func (t *tables) commits() uint32 {
	bits := min(t.conf[rowCommit].Clauses, commitLate)
	if t.conf[event.HookExec-1].HeldKey&keyGiven != 0 {
		bits |= commitGiven
	}
	return bits
}

// The bits of config.Commit, as in wire.h.
const (
	commitLate  = 1
	commitGiven = 2
)

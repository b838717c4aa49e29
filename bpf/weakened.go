package bpf

import (
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Weakened lists the rules of a generation of which the tables hold less than
// the program says: indexes into Program.Rules, by hook. The kernel may leave
// them undecided over fields that the policy's decision key does not cover.
func (k *Kernel) Weakened(gen event.Generation) map[event.Hook][]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.gens[uint32(gen)]
	if g == nil {
		return nil
	}
	return g.tables.weakenedRules()
}

func (t *tables) weakenedRules() map[event.Hook][]int {
	out := map[event.Hook][]int{}
	for h, fitted := range t.fitted {
		for i := range fitted {
			if condsOf(fitted[i].Clauses) != condsOf(t.prog.Rules[h][i].Clauses) {
				out[h] = append(out[h], i)
			}
		}
	}
	return out
}

// condsOf counts clauses and conditions: fitting only ever takes some away.
func condsOf(clauses []ir.Clause) int {
	n := 0
	for i := range clauses {
		if !isBlind(&clauses[i]) {
			n += 1 + len(clauses[i].When)
		}
	}
	return n
}

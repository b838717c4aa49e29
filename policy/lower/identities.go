package lower

import (
	"slices"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// withNames makes lists of names into lists of flags, which they are while
// rules are lowered: once the data is known the names are a closed set.
func withNames(fields []event.Field, ids []ir.Identity) []event.Field {
	out := slices.Clone(fields)
	for i := range out {
		if out[i].Kind == event.KindNames {
			out[i].Kind, out[i].Bits = event.KindFlags, make([]string, len(ids))
			for j := range ids {
				out[i].Bits[j] = ids[j].Name
			}
		}
	}
	return out
}

// byName writes tests of such a list as the program has them: with the names
// themselves, so that a program and an event need not agree on bits.
func (l *lowerer) byName(clauses []ir.Clause) {
	for i := range clauses {
		for j := range clauses[i].When {
			c := &clauses[i].When[j]
			if event.FieldByID(c.Field).Kind != event.KindNames {
				continue
			}
			var names []string
			for b, id := range l.Identities {
				if c.Mask&(1<<b) != 0 {
					names = append(names, id.Name)
				}
			}
			*c = ir.Cond{Field: c.Field, Op: ir.OpIn, Strs: names, Negated: c.Negated}
		}
	}
}

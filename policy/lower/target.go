package lower

import (
	"slices"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Target is what a backend can run: which fields it holds, which tests it makes
// on them, and how much fits.
type Target struct {
	Fields []event.Field
	Ops    map[event.Kind][]ir.Op // tests on fields of that kind that have an ID
	Limits Limits
}

// Limits bounds a lowered program.
type Limits struct {
	ClausesPerRule int // more: the rule is over-approximated
	ClausesPerHook int // more: the bundle is refused
	SuffixBytes    int // longest suffix of a name
	TextBytes      int // values of one test of a text, together
	ArgIndex       int // arguments that can be told apart by their index
	Residuals      int // alternatives that partial evaluation may leave of one rule
	BigData        int // entries above which a data document is not unrolled
}

// DefaultTarget is the kernel side of this repository, on a kernel that has all
// that it can make use of.
func DefaultTarget() Target {
	return Target{
		Fields: event.Fields,
		Ops: map[event.Kind][]ir.Op{
			event.KindPath:   {ir.OpIn, ir.OpPrefix},
			event.KindPaths:  {ir.OpIn, ir.OpPrefix},
			event.KindString: {ir.OpIn, ir.OpSuffix},
			event.KindInt:    {ir.OpIn, ir.OpLess, ir.OpMaskEq, ir.OpMaskAny, ir.OpSame},
			event.KindFlags:  {ir.OpMaskAny},
			event.KindNames:  {ir.OpIn},
			event.KindEnum:   {ir.OpIn},
			event.KindDigest: {ir.OpIn},
			event.KindList:   {ir.OpIn, ir.OpPrefix, ir.OpSuffix, ir.OpContains, ir.OpRegex, ir.OpLess},
			event.KindMap:    {ir.OpIn, ir.OpPrefix, ir.OpSuffix, ir.OpContains, ir.OpRegex},
		},
		Limits: Limits{ClausesPerRule: 64, ClausesPerHook: 4096, SuffixBytes: 24, TextBytes: 2048, ArgIndex: 15, Residuals: 256, BigData: 256},
	}
}

// Without is the same where the kernel does not know these of event.OnlyAtGate:
// only the gate does then.
func (t Target) Without(fields ...string) Target {
	t.Fields = slices.Clone(t.Fields)
	for i := range t.Fields {
		if slices.Contains(fields, t.Fields[i].Path) {
			t.Fields[i].ID, t.Fields[i].Part = event.FieldNone, event.PartUser
		}
	}
	return t
}

// Has reports whether the kernel knows all fields of these paths below input.
func (t *Target) Has(paths ...string) bool {
	return !slices.ContainsFunc(paths, func(path string) bool {
		f, ok := t.field(path)
		return !ok || f.Part == event.PartUser
	})
}

// field returns the field of that path below input.
func (t *Target) field(path string) (event.Field, bool) {
	i := slices.IndexFunc(t.Fields, func(f event.Field) bool { return f.Path == path })
	if i < 0 {
		return event.Field{}, false
	}
	return t.Fields[i], true
}

// holds reports whether the kernel can make that test on the field.
func (t *Target) holds(f event.Field, op ir.Op) bool {
	return f.ID != event.FieldNone && f.Part != event.PartUser && slices.Contains(t.Ops[f.Kind], op)
}

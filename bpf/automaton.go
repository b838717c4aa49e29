package bpf

import (
	"math/bits"
	"slices"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/automaton"
	"example.com/bailiff/policy/ir"
)

// Bounds of the automaton that tests arguments and environment, as in textwire.h.
const (
	maxTextTests  = 60 // bits of a word; two more say what was cut
	maxTextStates = automaton.MaxStates
	maxTextAt     = 15
	maxTextVars   = 32
	maxTextTries  = 64 // tests that did not fit, after which no more are tried: one takes some milliseconds
	textArgsCut   = uint64(1) << 63
	textEnvCut    = uint64(1) << 62
)

// textTests are the distinct tests on texts that a program makes; the position
// is the bit. Tests of one kind of text are one automaton, to which each that is
// taken is joined: only that shows whether it fits.
type textTests struct {
	conds  []*ir.Cond
	ids    map[condID]int // -1: there is no room for it
	vars   []string
	missed int              // tests that did not fit
	args   *automaton.DFA   // of any argument; nil if there is no test of one
	names  *automaton.DFA   // of names of variables, with "=": bits are numbers of vars
	values []*automaton.DFA // of each of vars
}

func newTextTests() *textTests { return &textTests{ids: map[condID]int{}} }

// take finds room for a test.
func (ts *textTests) take(c *ir.Cond) bool {
	key := condKey(c)
	if id, ok := ts.ids[key]; ok {
		return id >= 0
	}
	ts.ids[key] = -1
	if len(ts.conds) >= maxTextTests || c.At > maxTextAt || ts.missed >= maxTextTries {
		return false
	}
	more := ts.with(c)
	if more == nil {
		ts.missed++ // user space makes the test, and is said to
		return false
	}
	more.ids[key] = len(ts.conds)
	more.conds = append(ts.conds, c)
	*ts = *more
	return true
}

// with is a copy with the automaton of one more test joined; nil if it does not fit.
func (ts *textTests) with(c *ir.Cond) *textTests {
	d, err := testOf(c, 1<<len(ts.conds))
	if err != nil {
		return nil // it alone is too much
	}
	more := *ts
	if c.Field == event.FieldEnv {
		i := slices.Index(ts.vars, c.Var)
		if i < 0 {
			i = len(ts.vars)
			if i >= maxTextVars {
				return nil
			}
			name, err := automaton.Values([]string{c.Var + "="}, automaton.AtBegin, 1<<i)
			if err != nil {
				return nil // a name that long is no variable's that people write rules about
			}
			if more.names = join(ts.names, name); more.names == nil {
				return nil
			}
			more.vars, more.values = append(slices.Clone(ts.vars), c.Var), append(slices.Clone(ts.values), nil)
		} else {
			more.values = slices.Clone(ts.values)
		}
		if more.values[i] = join(more.values[i], d); more.values[i] == nil {
			return nil
		}
	} else if more.args = join(ts.args, d); more.args == nil {
		return nil
	}
	if !more.fit() {
		return nil
	}
	return &more
}

// join is automaton.Join where there may be none yet; nil if it does not fit.
func join(a, b *automaton.DFA) *automaton.DFA {
	if a == nil {
		return b
	}
	return automaton.Join(a, b)
}

// testOf is the automaton of one condition.
func testOf(c *ir.Cond, bit uint64) (*automaton.DFA, error) {
	where := automaton.Whole
	switch c.Op {
	case ir.OpRegex:
		return automaton.Regex(c.Strs, bit)
	case ir.OpPrefix:
		where = automaton.AtBegin
	case ir.OpSuffix:
		where = automaton.AtEnd
	case ir.OpContains:
		where = automaton.Anywhere
	}
	return automaton.Values(c.Strs, where, bit)
}

// parts lists the automata that there are.
func (ts *textTests) parts() []*automaton.DFA {
	return slices.DeleteFunc(append([]*automaton.DFA{ts.args, ts.names}, ts.values...), func(d *automaton.DFA) bool { return d == nil })
}

// fit: all automata are in one table, over one division of bytes into classes.
func (ts *textTests) fit() bool {
	states := 2 // state 0, and one in which arguments begin that meet nothing
	for _, d := range ts.parts() {
		states += len(d.Now) - 1
	}
	_, _, ok := ts.classes()
	return ok && states <= maxTextStates
}

// classes is the division of bytes that all automata share, with a byte of each
// class; false if there are too many.
func (ts *textTests) classes() (class [256]byte, reps []byte, ok bool) {
	for _, d := range ts.parts() {
		if class, _, ok = automaton.Refine(&class, &d.Class); !ok {
			return class, nil, false
		}
	}
	for b := 1; b < 256; b++ {
		if int(class[b]) == len(reps) {
			reps = append(reps, byte(b))
		}
	}
	return class, reps, true
}

// bit returns the bit of a condition.
func (ts *textTests) bit(c *ir.Cond) uint64 { return 1 << ts.ids[condKey(c)] }

// build makes the states and the constants of the automaton.
func (ts *textTests) build() ([]kernelTextState, kernelTextConf) {
	var conf kernelTextConf
	var reps []byte
	conf.Class, reps, _ = ts.classes()
	var all uint64 // tests of any argument
	for i, c := range ts.conds {
		bit := uint64(1) << i
		switch {
		case c.Field == event.FieldEnv:
			conf.Var[slices.Index(ts.vars, c.Var)].Mask |= bit
		case c.At > 0:
			conf.At[c.At-1] |= bit
		default:
			all |= bit
		}
	}
	for i := range conf.At {
		conf.At[i] |= all
	}
	states := make([]kernelTextState, 1)
	if ts.args != nil {
		states, conf.ArgState = put(states, ts.args, reps)
		if conf.ArgState == 0 { // none of the tests can be met, but whether all was seen has to be found out
			conf.ArgState = uint32(len(states))
			states = append(states, kernelTextState{})
		}
	}
	if ts.names != nil {
		from := len(states)
		states, conf.EnvState = put(states, ts.names, reps)
		for i := from; i < len(states); i++ {
			if s := &states[i]; s.Now != 0 {
				s.Var, s.Now = uint32(bits.TrailingZeros64(s.Now)+1), 0
			}
		}
	}
	for i, d := range ts.values {
		states, conf.Var[i].State = put(states, d, reps)
	}
	return states, conf
}

// put appends the states of an automaton but the first, which all share, and
// returns in which one it begins.
func put(states []kernelTextState, d *automaton.DFA, reps []byte) ([]kernelTextState, uint32) {
	number := func(s int) int {
		if s == 0 {
			return 0
		}
		return len(states) - 1 + s
	}
	out := states
	for s := 1; s < len(d.Now); s++ {
		k := kernelTextState{Now: d.Now[s], End: d.End[s]}
		for class, b := range reps {
			k.Next[class] = uint16(number(d.To(s, b)))
		}
		out = append(out, k)
	}
	return out, uint32(number(d.Start))
}

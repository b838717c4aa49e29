package bpf

import (
	"encoding/binary"
	"slices"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Bounds of the automaton that tests arguments and environment, as in wire.h.
const (
	maxTextTests  = 60 // bits of a word; two more say what was cut
	maxTextStates = 4096
	maxTextBytes  = 127 // different bytes in all values; all others are alike
	maxTextAt     = 15
	maxTextVars   = 32
	textArgsCut   = uint64(1) << 63
	textEnvCut    = uint64(1) << 62
)

// textTests are the distinct tests on texts that a program makes; the position
// is the bit.
type textTests struct {
	conds []*ir.Cond
	ids   map[condID]int
	vars  []string
	bytes [256]bool
	size  int // bytes of all values: no automaton for them has many more states
}

func newTextTests() *textTests { return &textTests{ids: map[condID]int{}} }

// take finds room for a test.
func (ts *textTests) take(c *ir.Cond) bool {
	key := condKey(c)
	if _, ok := ts.ids[key]; ok {
		return true
	}
	if len(ts.conds) >= maxTextTests || c.At > maxTextAt {
		return false
	}
	more := textTests{conds: ts.conds, vars: ts.vars, bytes: ts.bytes, size: ts.size}
	if c.Field == event.FieldEnv && !slices.Contains(ts.vars, c.Var) {
		more.vars = append(slices.Clone(ts.vars), c.Var)
		more.see(c.Var + "=")
	}
	for _, s := range c.Strs {
		more.see(s)
	}
	kinds := 0
	for _, ok := range more.bytes {
		if ok {
			kinds++
		}
	}
	if len(more.vars) > maxTextVars || kinds > maxTextBytes || more.size+2*maxTextVars > maxTextStates {
		return false
	}
	ts.ids[key] = len(ts.conds)
	ts.conds, ts.vars, ts.bytes, ts.size = append(ts.conds, c), more.vars, more.bytes, more.size
	return true
}

func (ts *textTests) see(s string) {
	ts.size += len(s) + 1
	for i := range len(s) {
		ts.bytes[s[i]] = true
	}
}

// bit returns the bit of a condition.
func (ts *textTests) bit(c *ir.Cond) uint64 { return 1 << ts.ids[condKey(c)] }

// textNode is a node of a tree of values: what is met when a text has come so
// far, what if it ends there, and which variable it has named.
type textNode struct {
	now, end uint64
	name     uint32
	next     map[byte]int
}

// automaton is being built: trees of values, then the sets of nodes in which a
// text can be at once, each of them a state.
type automaton struct {
	nodes  []textNode
	states []kernelTextState
	sets   [][]int
	known  map[string]int
	conf   kernelTextConf
	class  [256]byte
	bytes  []byte // one of each class
	free   int    // tree of values that may begin anywhere
}

// build makes the states and the constants of the automaton.
func (ts *textTests) build() ([]kernelTextState, kernelTextConf) {
	a := &automaton{known: map[string]int{}, bytes: []byte{0}}
	for b, ok := range ts.bytes {
		if ok {
			a.class[b] = byte(len(a.bytes))
			a.bytes = append(a.bytes, byte(b))
		}
	}
	a.conf.Class = a.class
	a.free = a.node()
	var all uint64 // tests of any argument
	args, env := a.node(), a.node()
	values := make([]int, len(ts.vars))
	for i, name := range ts.vars {
		values[i] = a.node()
		a.nodes[a.path(env, name+"=")].name = uint32(i + 1)
	}
	hasArgs := false
	for bit, c := range ts.conds {
		root := args
		switch {
		case c.Field == event.FieldEnv:
			i := slices.Index(ts.vars, c.Var)
			root = values[i]
			a.conf.Var[i].Mask |= 1 << bit
		case c.At > 0:
			a.conf.At[c.At-1] |= 1 << bit
			hasArgs = true
		default:
			all |= 1 << bit
			hasArgs = true
		}
		a.add(c, root, 1<<bit)
	}
	for i := range a.conf.At {
		a.conf.At[i] |= all
	}
	a.state(nil) // number 0
	if hasArgs {
		a.conf.ArgState = uint32(a.state([]int{a.free, args}))
	}
	if len(ts.vars) > 0 {
		a.conf.EnvState = uint32(a.state([]int{env})) // a name is matched from its beginning only
	}
	for i, v := range values {
		a.conf.Var[i].State = uint32(a.state([]int{a.free, v}))
	}
	for i := 0; i < len(a.sets); i++ {
		for class := range a.bytes {
			a.states[i].Next[class] = uint16(a.step(a.sets[i], class))
		}
	}
	return a.states, a.conf
}

func (a *automaton) node() int {
	a.nodes = append(a.nodes, textNode{next: map[byte]int{}})
	return len(a.nodes) - 1
}

// path returns the node that s leads to.
func (a *automaton) path(root int, s string) int {
	for i := range len(s) {
		n, ok := a.nodes[root].next[s[i]]
		if !ok {
			n = a.node()
			a.nodes[root].next[s[i]] = n
		}
		root = n
	}
	return root
}

func (a *automaton) add(c *ir.Cond, root int, bit uint64) {
	if c.Op == ir.OpSuffix || c.Op == ir.OpContains {
		root = a.free
	}
	for _, s := range c.Strs {
		n := &a.nodes[a.path(root, s)]
		if c.Op == ir.OpIn || c.Op == ir.OpSuffix {
			n.end |= bit
		} else {
			n.now |= bit
		}
	}
}

// state returns the number of a set of nodes. Where nothing begins in the middle
// of a text the free tree is left out: a text that cannot meet any test is then
// in no node at all.
func (a *automaton) state(set []int) int {
	if f := &a.nodes[a.free]; len(f.next) == 0 && f.now|f.end == 0 {
		set = slices.DeleteFunc(set, func(n int) bool { return n == a.free })
	}
	slices.Sort(set)
	var key []byte
	var s kernelTextState
	for _, n := range set {
		key = binary.NativeEndian.AppendUint32(key, uint32(n))
		s.Now |= a.nodes[n].now
		s.End |= a.nodes[n].end
		s.Var = max(s.Var, a.nodes[n].name)
	}
	id, ok := a.known[string(key)]
	if !ok {
		id = len(a.states)
		a.known[string(key)] = id
		a.states, a.sets = append(a.states, s), append(a.sets, set)
	}
	return id
}

// step: from a set of nodes by a byte of that class; 0 are the bytes in no value.
func (a *automaton) step(set []int, class int) int {
	var to []int
	for _, n := range set {
		if n == a.free {
			to = append(to, n)
		}
		if next, ok := a.nodes[n].next[a.bytes[class]]; ok && class > 0 {
			to = append(to, next)
		}
	}
	return a.state(to)
}

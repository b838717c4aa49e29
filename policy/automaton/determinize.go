package automaton

import (
	"encoding/binary"
	"slices"
)

// Bounds of what is looked at before an automaton is found to be too large.
const (
	maxRawStates = 2 * MaxStates // before equal ones are made one
	maxWork      = 2 << 20       // nodes that are visited: tens of milliseconds
)

// config is where a nondeterministic automaton can be at once.
type config struct {
	nodes []int32 // sorted
	met   bool    // now: what follows does not say so again
	// Of regular expressions only: what kind of rune came before, if that may
	// still matter, and the bytes of a rune that has not come whole.
	prev    rune
	partial int32 // node of the decoder; 0: none
	bytes   int32 // that have been read of it
}

func (c *config) key() string {
	b := []byte{0}
	if c.met {
		b[0] = 1
	}
	b = binary.NativeEndian.AppendUint32(b, uint32(c.prev))
	b = binary.NativeEndian.AppendUint32(b, uint32(c.partial))
	b = binary.NativeEndian.AppendUint32(b, uint32(c.bytes))
	for _, n := range c.nodes {
		b = binary.NativeEndian.AppendUint32(b, uint32(n))
	}
	return string(b)
}

// machine is a nondeterministic automaton for one test.
type machine interface {
	begin() config
	step(c config, b byte) config
	// ends reports whether the test is met if the text ends there.
	ends(c config) bool
	// work is how many nodes have been visited.
	work() int
}

// determinize makes the states by subset construction; met are the bits of the
// test. What follows where a test is met does not matter for it, and goes on as
// before: if each test then stopped, of many that are joined there would be a
// state for each set of those that were met.
func determinize(m machine, class [256]byte, met uint64) (*DFA, error) {
	d := &DFA{Class: class}
	var bytes []byte // one of each class
	for b := 1; b < 256; b++ {
		if int(class[b]) == len(bytes) {
			bytes = append(bytes, byte(b))
		}
	}
	d.Classes = len(bytes)
	ids := map[string]int{}
	var configs []config
	id := func(c config) int {
		if len(c.nodes) == 0 && !c.met {
			c = config{} // nothing can be met: state 0
		}
		key := c.key()
		n, ok := ids[key]
		if !ok {
			n = len(configs)
			ids[key] = n
			configs = append(configs, c)
			var now, end uint64
			if c.met {
				now = met
			} else if m.ends(c) {
				end = met
			}
			d.Now, d.End = append(d.Now, now), append(d.End, end)
		}
		return n
	}
	id(config{})
	d.Start = id(m.begin())
	for i := 0; i < len(configs); i++ {
		for _, b := range bytes {
			d.Next = append(d.Next, uint16(id(m.step(configs[i], b))))
		}
		if m.work() > maxWork {
			return nil, ErrWork
		}
		if len(configs) > maxRawStates {
			return nil, ErrStates
		}
	}
	d = d.minimize()
	d.stop()
	if len(d.Now) > MaxStates {
		return nil, ErrStates
	}
	return d, nil
}

// stop leaves a state in which a test is met whatever comes: it can be met once only.
func (d *DFA) stop() {
	for s := range d.Now {
		row := d.Next[s*d.Classes:][:d.Classes]
		if d.Now[s] != 0 && !slices.ContainsFunc(row, func(to uint16) bool { return int(to) != s }) {
			clear(row)
		}
	}
}

// numberClasses numbers equal values in the order in which they come; false if
// there are too many. NUL is in no text.
func numberClasses[T comparable](of func(b byte) T) (class [256]byte, ok bool) {
	ids := map[T]byte{}
	for b := 1; b < 256; b++ {
		v := of(byte(b))
		id, known := ids[v]
		if !known {
			if len(ids) == MaxClasses {
				return class, false
			}
			id = byte(len(ids))
			ids[v] = id
		}
		class[b] = id
	}
	return class, true
}

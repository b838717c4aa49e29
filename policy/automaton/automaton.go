// Package automaton turns tests of text into deterministic automata over bytes:
// values that a text is, begins with, ends in or holds, and regular expressions.
// Automata of several tests are joined to one that runs them side by side.
package automaton

import (
	"errors"
	"fmt"
)

// What an automaton may have: tables of a kernel hold as much.
const (
	MaxStates  = 4096
	MaxClasses = 128
)

// Errors of tests that are too much. The text of each goes into diagnostics.
var (
	ErrStates  = fmt.Errorf("as a deterministic automaton it has more than %d states", MaxStates)
	ErrClasses = fmt.Errorf("it tells apart more than %d kinds of bytes", MaxClasses)
	ErrWork    = errors.New("it takes too long to make it a deterministic automaton")
	ErrSize    = fmt.Errorf("with its repetitions written out it has more than %d parts", maxInsts)
)

// DFA is a deterministic automaton over the bytes of a text, which holds no NUL.
// From state 0 no test can be met any more. What was met stays met: whoever walks
// collects Now of each state, the first one included, and End of the last one.
type DFA struct {
	Class    [256]byte // of a byte; bytes that no test tells apart share one
	Classes  int
	Now, End []uint64 // by state: tests that are met when it is reached, and if the text ends there
	Next     []uint16 // by state times Classes plus class
	Start    int
}

// To returns the state that a byte leads to.
func (d *DFA) To(state int, b byte) int {
	return int(d.Next[state*d.Classes+int(d.Class[b])])
}

// Join returns the automaton that runs two side by side, nil if it would have
// too many states or classes.
func Join(a, b *DFA) *DFA {
	j := new(DFA)
	var ok bool
	var of [][2]byte // classes of a and b
	if j.Class, of, ok = Refine(&a.Class, &b.Class); !ok {
		return nil
	}
	j.Classes = len(of)
	type pair [2]uint16
	var states []pair
	ids := make(map[pair]uint16)
	id := func(p pair) uint16 {
		n, ok := ids[p]
		if !ok {
			n = uint16(len(states))
			ids[p] = n
			states = append(states, p)
			j.Now = append(j.Now, a.Now[p[0]]|b.Now[p[1]])
			j.End = append(j.End, a.End[p[0]]|b.End[p[1]])
		}
		return n
	}
	id(pair{})
	j.Start = int(id(pair{uint16(a.Start), uint16(b.Start)}))
	for i := 0; i < len(states); i++ {
		rowA, rowB := a.Next[int(states[i][0])*a.Classes:], b.Next[int(states[i][1])*b.Classes:]
		for _, c := range of {
			j.Next = append(j.Next, id(pair{rowA[c[0]], rowB[c[1]]}))
		}
		if len(states) > MaxStates {
			return nil
		}
	}
	return j
}

// Refine joins two divisions of bytes into classes to the one that tells apart
// what either does; of lists for each of its classes those that it was made of.
// false: there are more than MaxClasses. NUL is in no text, and in class 0.
func Refine(a, b *[256]byte) (class [256]byte, of [][2]byte, ok bool) {
	ids := map[[2]byte]byte{}
	for c := 1; c < 256; c++ {
		p := [2]byte{a[c], b[c]}
		id, known := ids[p]
		if !known {
			if len(of) == MaxClasses {
				return class, nil, false
			}
			id = byte(len(of))
			ids[p] = id
			of = append(of, p)
		}
		class[c] = id
	}
	return class, of, true
}

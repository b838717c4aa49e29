package automaton

import (
	"slices"
)

// Where says where in a text a value must stand.
type Where uint8

const (
	Whole    Where = iota // the text is the value
	AtBegin               // it begins with it
	AtEnd                 // it ends in it
	Anywhere              // it holds it
)

// Values returns the automaton of the test that one of the values, which are any
// bytes but NUL, stands there in a text. Its bits are those of met.
func Values(vals []string, where Where, met uint64) (*DFA, error) {
	t := &tree{nodes: []treeNode{{}}, where: where}
	var bytes [256]bool
	for _, v := range vals {
		t.add(v)
		for i := range len(v) {
			bytes[v[i]] = true
		}
	}
	class, ok := numberClasses(func(b byte) int {
		if bytes[b] {
			return int(b)
		}
		return 0
	})
	if !ok {
		return nil, ErrClasses
	}
	if len(t.nodes) > MaxStates {
		return nil, ErrStates
	}
	return determinize(t, class, met)
}

// tree holds values by their bytes. Node 0 is its root.
type tree struct {
	nodes   []treeNode
	where   Where
	visited int
}

type treeNode struct {
	last bool // a value ends here
	next map[byte]int32
}

func (t *tree) add(v string) {
	at := int32(0)
	for i := range len(v) {
		n := &t.nodes[at]
		next, ok := n.next[v[i]]
		if !ok {
			if n.next == nil {
				n.next = map[byte]int32{}
			}
			next = int32(len(t.nodes))
			n.next[v[i]] = next
			t.nodes = append(t.nodes, treeNode{})
		}
		at = next
	}
	t.nodes[at].last = true
}

func (t *tree) begin() config { return t.config([]int32{0}) }

func (t *tree) step(c config, b byte) config {
	var to []int32
	if t.where == AtEnd || t.where == Anywhere {
		to = append(to, 0) // another may begin here
	}
	for _, n := range c.nodes {
		t.visited++
		if next, ok := t.nodes[n].next[b]; ok {
			to = append(to, next)
		}
	}
	return t.config(to)
}

func (t *tree) config(nodes []int32) config {
	slices.Sort(nodes)
	c := config{nodes: nodes}
	if t.where == AtBegin || t.where == Anywhere {
		c.met = t.ended(c)
	}
	if c.met && t.where == AtBegin {
		c.nodes = nil // a longer value says no more
	}
	return c
}

func (t *tree) ends(c config) bool { return (t.where == Whole || t.where == AtEnd) && t.ended(c) }

func (t *tree) ended(c config) bool {
	return slices.ContainsFunc(c.nodes, func(n int32) bool { return t.nodes[n].last })
}

func (t *tree) work() int { return t.visited }

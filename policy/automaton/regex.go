package automaton

import (
	"fmt"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxInsts bounds the instructions of regular expressions, before anything is
// made whose size their counted repetitions say.
const maxInsts = 4096

// Regex returns the automaton of the test that regexp.MatchString of Go holds
// for a text and one of the patterns: of any bytes, those that are no UTF-8
// included. Its bits are those of met. It is an error if a pattern is none, holds
// NUL, or is too much: ErrStates, ErrClasses, ErrWork, ErrSize.
func Regex(patterns []string, met uint64) (*DFA, error) {
	n := &nfa{}
	for _, p := range patterns {
		if err := n.add(p); err != nil {
			return nil, err
		}
	}
	if n.rc = newRuneClasses(n.insts); n.rc == nil {
		return nil, ErrWork
	}
	n.decoder = newDecoder(n.rc)
	n.invalid, _ = n.rc.of(utf8.RuneError)
	n.seen = make([]int, len(n.insts))
	class, ok := n.decoder.classes()
	if !ok {
		return nil, ErrClasses
	}
	return determinize(n, class, met)
}

// nfa is the automaton over runes that package regexp runs, of all patterns of a
// test side by side.
type nfa struct {
	insts   []syntax.Inst
	starts  []int32
	rc      *runeClasses
	decoder *decoder
	invalid int32 // class of U+FFFD
	seen    []int // of an instruction: the round in which it was visited last
	round   int
	visited int
	// What settle found out last, and about which place.
	asked   string
	settled *config
}

// add compiles a pattern. Unless it can match at the beginning only, any runes
// may stand before it.
func (n *nfa) add(pattern string) error {
	if strings.Contains(pattern, "\x00") {
		return fmt.Errorf("the regular expression holds NUL, which no text does")
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return fmt.Errorf("it is no regular expression: %w", err)
	}
	if size(re) > maxInsts {
		return ErrSize
	}
	re = re.Simplify()
	prog, err := syntax.Compile(re)
	if err != nil {
		return fmt.Errorf("compile the regular expression: %w", err)
	}
	if prog.StartCond()&syntax.EmptyBeginText == 0 {
		any := &syntax.Regexp{Op: syntax.OpAnyChar}
		before := &syntax.Regexp{Op: syntax.OpStar, Sub: []*syntax.Regexp{any}}
		if prog, err = syntax.Compile(&syntax.Regexp{Op: syntax.OpConcat, Sub: []*syntax.Regexp{before, re}}); err != nil {
			return fmt.Errorf("compile the regular expression: %w", err)
		}
	}
	base := uint32(len(n.insts))
	n.starts = append(n.starts, int32(base)+int32(prog.Start))
	for _, in := range prog.Inst {
		in.Out += base
		if in.Op == syntax.InstAlt || in.Op == syntax.InstAltMatch {
			in.Arg += base
		}
		n.insts = append(n.insts, in)
	}
	if len(n.insts) > maxInsts {
		return ErrSize
	}
	return nil
}

// size is about how many instructions an expression has; beyond maxInsts it need
// not be right.
func size(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n += min(size(sub), maxInsts+1)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}

func (n *nfa) begin() config { return n.place(n.starts, -1) }

// step: a byte ends a rune, goes on with one, or shows that the bytes before it
// were none.
func (n *nfa) step(c config, b byte) config {
	c.met = false
	if c.partial != 0 {
		d := &n.decoder.nodes[c.partial]
		if b >= 0x80 && b < 0xc0 && d.next[b&0x3f] >= 0 {
			if d.last {
				return n.rune(c, d.next[b&0x3f])
			}
			c.partial, c.bytes = d.next[b&0x3f], c.bytes+1
			return c
		}
		c = n.flush(c)
	}
	before := c.met
	c.met = false
	c = n.first(c, b)
	c.met = c.met || before
	return c
}

// first goes on by a byte that does not belong to those before it.
func (n *nfa) first(c config, b byte) config {
	if b < utf8.RuneSelf {
		class, _ := n.rc.of(rune(b))
		return n.rune(c, class)
	}
	lead := n.decoder.lead[b]
	if lead == 0 {
		return n.rune(c, n.invalid)
	}
	if to := n.settle(c); to != nil {
		return *to
	}
	c.partial, c.bytes = lead, 1
	return c
}

// settle finds the place to which any number of runes beyond ASCII lead from
// another; nil if it matters which or how many. There each byte of them can count
// as one, which saves most of the states that are within runes.
func (n *nfa) settle(c config) *config {
	key := c.key()
	if key == n.asked {
		return n.settled
	}
	n.asked, n.settled = key, nil
	to := n.rune(c, n.invalid)
	want := to.key()
	for _, class := range n.rc.beyond {
		first, again := n.rune(c, class), n.rune(to, class)
		again.met = again.met || to.met
		if first.key() != want || again.key() != want {
			return nil
		}
	}
	n.settled = &to
	return &to
}

// flush takes each byte of what did not become a rune for U+FFFD.
func (n *nfa) flush(c config) config {
	met := false
	for range c.bytes {
		c = n.rune(c, n.invalid)
		met = met || c.met
	}
	c.met = met
	return c
}

func (n *nfa) ends(c config) bool {
	if c = n.flush(c); c.met {
		return true
	}
	_, met, _ := n.close(c.nodes, c.prev, -1, true)
	return met
}

func (n *nfa) work() int { return n.visited }

// rune goes on by a rune of a class.
func (n *nfa) rune(c config, class int32) config {
	r := n.rc.reps[class]
	nodes, met, _ := n.close(c.nodes, c.prev, r, true)
	var to []int32
	for _, i := range nodes {
		if n.rc.match[n.rc.kinds[i]][class] {
			to = append(to, int32(n.insts[i].Out))
		}
	}
	c = n.place(to, kindOf(r))
	c.met = c.met || met
	return c
}

// place is where instructions lead at a place after a rune, before the next one
// is known.
func (n *nfa) place(nodes []int32, prev rune) config {
	nodes, met, open := n.close(nodes, prev, -1, false)
	slices.Sort(nodes)
	c := config{nodes: nodes, met: met}
	if open {
		c.prev = prev
	}
	return c
}

// close follows what takes no rune, and returns instructions that do. While the
// next rune is not known, conditions on it are kept among them: open.
func (n *nfa) close(nodes []int32, prev, next rune, known bool) (out []int32, met, open bool) {
	n.round++
	todo := slices.Clone(nodes)
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n.visited++
		if n.seen[i] == n.round {
			continue
		}
		n.seen[i] = n.round
		switch in := &n.insts[i]; in.Op {
		case syntax.InstMatch:
			met = true
		case syntax.InstFail:
		case syntax.InstAlt, syntax.InstAltMatch:
			todo = append(todo, int32(in.Out), int32(in.Arg))
		case syntax.InstCapture, syntax.InstNop:
			todo = append(todo, int32(in.Out))
		case syntax.InstEmptyWidth:
			op := syntax.EmptyOp(in.Arg)
			switch {
			case !known && op&^(syntax.EmptyBeginText|syntax.EmptyBeginLine) != 0:
				out, open = append(out, i), true
			case op&^syntax.EmptyOpContext(prev, next) == 0:
				todo = append(todo, int32(in.Out))
			}
		default:
			out = append(out, i)
		}
	}
	return out, met, open
}

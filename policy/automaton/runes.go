package automaton

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"unicode"
	"unicode/utf8"
)

// runeClasses divides runes into classes that the instructions of a regular
// expression do not tell apart.
type runeClasses struct {
	from   []rune   // where an interval begins, sorted; the first is 0
	class  []int32  // of the interval
	reps   []rune   // one of each class
	beyond []int32  // the classes of runes beyond ASCII
	match  [][]bool // by kind of instruction and class
	kinds  []int    // kind of an instruction, -1 if it takes no rune
}

// newRuneClasses returns nil if there is too much to compare.
func newRuneClasses(insts []syntax.Inst) *runeClasses {
	rc := &runeClasses{kinds: make([]int, len(insts))}
	edges := map[rune]bool{0: true, utf8.RuneSelf: true}
	between := func(lo, hi rune) { edges[lo], edges[hi+1] = true, true }
	byRunes := map[string]int{}
	var kinds []*syntax.Inst // one of each
	context := false         // what kind of rune stands beside a place matters
	for i := range insts {
		in := &insts[i]
		rc.kinds[i] = -1
		switch in.Op {
		case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		case syntax.InstEmptyWidth:
			context = context || syntax.EmptyOp(in.Arg)&^(syntax.EmptyBeginText|syntax.EmptyEndText) != 0
			continue
		default:
			continue
		}
		key := string([]byte{byte(in.Op), byte(in.Arg)}) + string(in.Rune)
		kind, ok := byRunes[key]
		if !ok {
			kind = len(kinds)
			byRunes[key] = kind
			kinds = append(kinds, in)
			takes(in, between)
		}
		rc.kinds[i] = kind
	}
	if context || slices.ContainsFunc(kinds, func(in *syntax.Inst) bool { return in.Op == syntax.InstRuneAnyNotNL }) {
		between('\n', '\n')
	}
	if context {
		between('0', '9')
		between('A', 'Z')
		between('_', '_')
		between('a', 'z')
	}
	for r := range edges {
		if r <= unicode.MaxRune {
			rc.from = append(rc.from, r)
		}
	}
	if len(rc.from)*len(kinds) > maxWork {
		return nil
	}
	slices.Sort(rc.from)
	rc.number(kinds, context)
	return rc
}

// takes lists the runes that an instruction tells apart from others.
func takes(in *syntax.Inst, between func(lo, hi rune)) {
	if len(in.Rune) == 1 {
		r := in.Rune[0]
		between(r, r)
		for f := unicode.SimpleFold(r); f != r && syntax.Flags(in.Arg)&syntax.FoldCase != 0; f = unicode.SimpleFold(f) {
			between(f, f)
		}
		return
	}
	for i := 0; i+1 < len(in.Rune); i += 2 {
		between(in.Rune[i], in.Rune[i+1])
	}
}

// number gives intervals that the same instructions take the same class.
func (rc *runeClasses) number(kinds []*syntax.Inst, context bool) {
	ids := map[string]int32{}
	rc.match = make([][]bool, len(kinds))
	sign := make([]byte, len(kinds)+1)
	for _, r := range rc.from {
		sign[len(kinds)] = 0
		if context {
			sign[len(kinds)] = byte(kindOf(r))
		}
		for k, in := range kinds {
			sign[k] = 0
			if in.MatchRune(r) {
				sign[k] = 1
			}
		}
		id, ok := ids[string(sign)]
		if !ok {
			id = int32(len(rc.reps))
			ids[string(sign)] = id
			rc.reps = append(rc.reps, r)
			for k := range kinds {
				rc.match[k] = append(rc.match[k], sign[k] == 1)
			}
		}
		rc.class = append(rc.class, id)
		if r >= utf8.RuneSelf && !slices.Contains(rc.beyond, id) {
			rc.beyond = append(rc.beyond, id)
		}
	}
}

// of returns the class of a rune, and the last rune up to which all have it.
func (rc *runeClasses) of(r rune) (class int32, to rune) {
	i, found := slices.BinarySearch(rc.from, r)
	if !found {
		i--
	}
	class, to = rc.class[i], unicode.MaxRune
	for i++; i < len(rc.from); i++ {
		if rc.class[i] != class {
			return class, rc.from[i] - 1
		}
	}
	return class, to
}

// kindOf returns a rune that stands for all that ^, $ and \b of a regular
// expression do not tell apart from r.
func kindOf(r rune) rune {
	switch {
	case r < 0, r == '\n':
		return r
	case syntax.IsWordChar(r):
		return 'a'
	}
	return ' '
}

// decoder decodes UTF-8 byte by byte as package utf8 does, to classes of runes.
// Node 0 is between runes. Bytes that are no UTF-8 are each a rune of their own,
// U+FFFD, which is known only when what came of a rune cannot be one any more.
type decoder struct {
	rc    *runeClasses
	nodes []decoderNode
	ids   map[decoderNode]int32
	lead  [256]int32 // node after the first byte of a rune; 0: it begins none
}

// decoderNode says what a byte from 0x80 to 0xbf leads to: the class of the rune
// if it is the last one, else a node. -1: to no rune.
type decoderNode struct {
	last bool
	next [64]int32
}

func newDecoder(rc *runeClasses) *decoder {
	d := &decoder{rc: rc, nodes: make([]decoderNode, 1), ids: map[decoderNode]int32{}}
	for b := 0xc2; b < 0xe0; b++ {
		d.lead[b] = d.node(rune(b&0x1f), 1, 0x80, 0xbf)
	}
	for b := 0xe0; b < 0xf0; b++ {
		lo, hi := 0x80, 0xbf
		switch b {
		case 0xe0:
			lo = 0xa0
		case 0xed:
			hi = 0x9f
		}
		d.lead[b] = d.node(rune(b&0xf), 2, lo, hi)
	}
	for b := 0xf0; b < 0xf5; b++ {
		lo, hi := 0x80, 0xbf
		switch b {
		case 0xf0:
			lo = 0x90
		case 0xf4:
			hi = 0x8f
		}
		d.lead[b] = d.node(rune(b&0x7), 3, lo, hi)
	}
	return d
}

// node returns the one after bits that begin a rune, with so many bytes to come,
// the next of them from lo to hi.
func (d *decoder) node(bits rune, more, lo, hi int) int32 {
	n := decoderNode{last: more == 1}
	for i := range n.next {
		n.next[i] = -1
	}
	var same int32 // node of runes that are all of a class
	upTo := rune(-1)
	for b := lo; b <= hi; b++ {
		r := bits<<6 | rune(b&0x3f)
		first := r << (6 * (more - 1))
		if more == 1 {
			n.next[b&0x3f], _ = d.rc.of(first)
			continue
		}
		if last := first | (1<<(6*(more-1)) - 1); last > upTo {
			if same = d.node(r, more-1, 0x80, 0xbf); first > upTo {
				_, upTo = d.rc.of(first)
			}
		}
		n.next[b&0x3f] = same
	}
	id, ok := d.ids[n]
	if !ok {
		id = int32(len(d.nodes))
		d.ids[n] = id
		d.nodes = append(d.nodes, n)
	}
	return id
}

// classes divides bytes into those that runes do not tell apart.
func (d *decoder) classes() ([256]byte, bool) {
	return numberClasses(func(b byte) string {
		if b < utf8.RuneSelf {
			c, _ := d.rc.of(rune(b))
			return string(binary.NativeEndian.AppendUint32(nil, uint32(c)))
		}
		key := binary.NativeEndian.AppendUint64(nil, uint64(d.lead[b]))
		for i := range d.nodes {
			if b < 0xc0 {
				key = binary.NativeEndian.AppendUint32(key, uint32(d.nodes[i].next[b&0x3f]))
			}
		}
		return string(key)
	})
}

package redact

import (
	"regexp/syntax"
	"slices"
	"strings"
)

// shortestWord is the length from which a word can be looked for.
const shortestWord = 2

// filter tells at the cost of about a nanosecond a byte which rules may
// concern a text: nearly always none.
type filter struct {
	always uint64               // rules of which no word is known
	pairs  [1 << 16 / 64]uint64 // first two bytes of words, folded
	words  [256][]word          // by their first byte
}

type word struct {
	text  string // lower case
	rules uint64
}

// bit is the place of a rule in a set; what is beyond shares the last.
func bit(rule int) uint64 { return 1 << min(rule, 63) }

func newFilter(words [][]string) *filter {
	f := &filter{}
	for rule, list := range words {
		// The long s and the Kelvin sign equal letters without regard to
		// case: where one is, a rule may match without its word.
		list = append(slices.Clone(list), "\u017f", "\u212a")
		if words[rule] == nil {
			f.always |= bit(rule)
		}
		for _, w := range list {
			w = lower(w)
			p := uint16(w[0])<<8 | uint16(w[1])
			f.pairs[p/64] |= 1 << (p % 64)
			same := &f.words[w[0]]
			i := slices.IndexFunc(*same, func(have word) bool { return have.text == w })
			if i < 0 {
				i = len(*same)
				*same = append(*same, word{text: w})
			}
			(*same)[i].rules |= bit(rule)
		}
	}
	return f
}

// find returns the rules of which a word is in s.
func (f *filter) find(s string) uint64 {
	hit := f.always
	if len(s) < shortestWord {
		return hit
	}
	before := fold(s[0])
	for i := 1; i < len(s); i++ {
		c := fold(s[i])
		p := uint16(before)<<8 | uint16(c)
		before = c
		if f.pairs[p/64]&(1<<(p%64)) == 0 {
			continue
		}
		for _, w := range f.words[p>>8] {
			if w.rules&^hit != 0 && hasPrefixFold(s[i-1:], w.text) {
				hit |= w.rules
			}
		}
	}
	return hit
}

func fold(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// lower is for ASCII: other letters stay as they are.
func lower(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = fold(b[i])
	}
	return string(b)
}

func hasPrefixFold(s, lower string) bool {
	if len(s) < len(lower) {
		return false
	}
	for i := range len(lower) {
		if fold(s[i]) != lower[i] {
			return false
		}
	}
	return true
}

// required returns words of which at least one is in every text that matches a
// pattern, or nil if there are none.
func required(pattern string) []string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	return need(re.Simplify())
}

func need(re *syntax.Regexp) []string {
	switch re.Op {
	case syntax.OpLiteral:
		s := string(re.Rune)
		if len(re.Rune) < shortestWord || strings.ContainsFunc(s, func(r rune) bool { return r > 0x7e }) {
			return nil
		}
		return []string{s}
	case syntax.OpCapture, syntax.OpPlus:
		return need(re.Sub[0])
	case syntax.OpConcat:
		var best []string
		for _, sub := range re.Sub {
			if n := need(sub); n != nil && (best == nil || shortest(n) > shortest(best)) {
				best = n
			}
		}
		return best
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			n := need(sub)
			if n == nil {
				return nil
			}
			all = append(all, n...)
		}
		return all
	}
	return nil
}

func shortest(words []string) int {
	n := len(words[0])
	for _, w := range words {
		n = min(n, len(w))
	}
	return n
}

package lower

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// maxLiterals bounds the strings that one pattern is unfolded to.
const maxLiterals = 64

// glob: a literal, "head**" and "**tail" are exact; of others the literal head
// and tail are necessary.
func (t *translator) glob(e *ast.Expr, f event.Field, pattern string, delimiters ast.Value) formula {
	if all := braces(pattern); len(all) > 1 {
		var out []formula
		for _, p := range all {
			out = append(out, t.glob(e, f, p, delimiters))
		}
		return disj(out...)
	}
	const meta = `*?[]{}\!`
	i := strings.IndexAny(pattern, meta)
	if i < 0 {
		return t.strings(e, ir.OpIn, f, pattern)
	}
	j := strings.LastIndexAny(pattern, meta)
	head, middle, tail := pattern[:i], pattern[i:j+1], pattern[j+1:]
	var necessary []formula
	if head != "" {
		necessary = append(necessary, t.strings(e, ir.OpPrefix, f, head))
	}
	if tail != "" {
		necessary = append(necessary, t.strings(e, ir.OpSuffix, f, tail))
	}
	if pattern == "**" {
		return t.strings(e, ir.OpPrefix, f, "")
	}
	if middle == "**" && (head == "" || tail == "") {
		return conj(necessary...)
	}
	return conj(append(necessary, t.unknown(CodeGlob, "of a glob the kernel tests what is before and after its wildcards", e, e.Location))...)
}

// braces unfolds the first {a,b} of a glob that holds only literals.
func braces(pattern string) []string {
	open := strings.IndexByte(pattern, '{')
	if open < 0 || strings.Count(pattern, "{") > 4 || strings.ContainsAny(pattern[:open], `\[`) {
		return nil
	}
	n := strings.IndexAny(pattern[open+1:], `{}[]\*?!`)
	if n < 0 || pattern[open+1+n] != '}' {
		return nil
	}
	var out []string
	for _, alt := range strings.Split(pattern[open+1:open+1+n], ",") {
		out = append(out, pattern[:open]+alt+pattern[open+n+2:])
	}
	return out
}

// regex: literals and alternations of them, anchored, are exact; of others the
// literals that a match must begin with are necessary.
func (t *translator) regex(e *ast.Expr, f event.Field, pattern string) formula {
	u := t.unknown(CodeRegex, "a regular expression has no kernel form", e, e.Location)
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return u
	}
	re = re.Simplify()
	subs := []*syntax.Regexp{re}
	if re.Op == syntax.OpConcat {
		subs = re.Sub
	}
	begin, end := false, false
	if len(subs) > 0 && subs[0].Op == syntax.OpBeginText {
		begin, subs = true, subs[1:]
	}
	if n := len(subs); n > 0 && subs[n-1].Op == syntax.OpEndText {
		end, subs = true, subs[:n-1]
	}
	if n := len(subs); n > 0 && !end && subs[n-1].Op == syntax.OpStar {
		subs = subs[:n-1] // what may follow is not said
	}
	if all := unfold(&syntax.Regexp{Op: syntax.OpConcat, Sub: subs}); all != nil {
		switch {
		case begin && end:
			return t.strings(e, ir.OpIn, f, all...)
		case begin:
			return t.strings(e, ir.OpPrefix, f, all...)
		case end:
			return t.strings(e, ir.OpSuffix, f, all...)
		}
		return u
	}
	if begin {
		if heads := heads(subs); len(heads) > 0 {
			return conj(t.strings(e, ir.OpPrefix, f, heads...), u)
		}
	}
	return u
}

// heads: the strings of which one a match must begin with.
func heads(subs []*syntax.Regexp) []string {
	cur := []string{""}
	for _, s := range subs {
		next := product(cur, unfold(s))
		if next == nil {
			break
		}
		cur = next
	}
	for _, s := range cur {
		if s == "" {
			return nil
		}
	}
	return cur
}

// unfold lists all strings that match, nil if there are too many.
func unfold(re *syntax.Regexp) []string {
	if re.Flags&syntax.FoldCase != 0 {
		return nil
	}
	switch re.Op {
	case syntax.OpEmptyMatch:
		return []string{""}
	case syntax.OpLiteral:
		if slices.Contains(re.Rune, utf8.RuneError) { // would match any invalid byte
			return nil
		}
		return []string{string(re.Rune)}
	case syntax.OpCapture:
		return unfold(re.Sub[0])
	case syntax.OpQuest:
		if all := unfold(re.Sub[0]); all != nil {
			return append([]string{""}, all...)
		}
	case syntax.OpConcat:
		cur := []string{""}
		for _, s := range re.Sub {
			if cur = product(cur, unfold(s)); cur == nil {
				return nil
			}
		}
		return cur
	case syntax.OpAlternate:
		var out []string
		for _, s := range re.Sub {
			all := unfold(s)
			if all == nil || len(out)+len(all) > maxLiterals {
				return nil
			}
			out = append(out, all...)
		}
		return out
	case syntax.OpCharClass:
		return unfoldClass(re.Rune)
	}
	return nil
}

func unfoldClass(ranges []rune) []string {
	var out []string
	for i := 0; i+1 < len(ranges); i += 2 {
		for r := ranges[i]; r <= ranges[i+1]; r++ {
			if r > 0x7f || len(out) == 16 { // beyond ASCII a byte string may not be what the class means
				return nil
			}
			out = append(out, string(r))
		}
	}
	return out
}

func product(a, b []string) []string {
	if b == nil || len(a)*len(b) > maxLiterals {
		return nil
	}
	var out []string
	for _, x := range a {
		for _, y := range b {
			out = append(out, x+y)
		}
	}
	return out
}

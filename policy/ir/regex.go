package ir

import (
	"regexp"
	"regexp/syntax"
	"sync"
)

// maxCompiled bounds the regular expressions that are kept compiled.
const maxCompiled = 1024

// patterns keeps regular expressions compiled: conditions are data, and are
// asked for each act.
type patterns struct {
	sync.RWMutex
	compiled map[string]*regexp.Regexp
}

var compiled patterns

// matches reports whether a text holds a match of a pattern, as regex.match of
// Rego does. Validate has found that it is one.
func matches(text, pattern string) bool {
	compiled.RLock()
	re := compiled.compiled[pattern]
	compiled.RUnlock()
	if re == nil {
		re = regexp.MustCompile(pattern)
		compiled.Lock()
		if len(compiled.compiled) >= maxCompiled || compiled.compiled == nil {
			compiled.compiled = map[string]*regexp.Regexp{}
		}
		compiled.compiled[pattern] = re
		compiled.Unlock()
	}
	return re.MatchString(text)
}

// matchOf returns a text that matches, if the pattern does not look around.
func matchOf(pattern string) string {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return ""
	}
	return matchOfTree(re.Simplify())
}

func matchOfTree(re *syntax.Regexp) string {
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		for i := 0; i+1 < len(re.Rune); i += 2 {
			if r := max(re.Rune[i], 1); r <= re.Rune[i+1] { // no text holds NUL
				return string(r)
			}
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return "."
	case syntax.OpCapture, syntax.OpPlus, syntax.OpAlternate:
		return matchOfTree(re.Sub[0])
	case syntax.OpConcat:
		s := ""
		for _, sub := range re.Sub {
			s += matchOfTree(sub)
		}
		return s
	}
	return ""
}

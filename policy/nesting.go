package policy

import (
	"fmt"
	"path"
	"strings"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// scan looks at the text of rules and data before a parser does: parsers and
// compilers descend with the brackets, and arithmetic takes memory with the
// digits. It knows strings and comments and no more of the languages.
func (f *files) scan() error {
	for _, e := range f.entries {
		var s scanner
		switch base := path.Base(e.path); {
		case strings.HasSuffix(base, bundle.RegoExt):
			s = scanner{rego: true}
		case base == "data.json", base == "patch.json", base == bundle.ManifestExt:
			s = scanner{}
		case bundle.IsYAMLDataFile(e.path):
			s = scanner{yaml: true}
		default:
			continue
		}
		s.limits = f.limits
		if why := s.run(e.data); why != "" {
			return Errors{{Code: CodeLimit, File: e.path, Line: s.line, Col: s.col, Why: why, Source: short(f.line(e.path, s.line)),
				Hint: "nobody could review that; split it, or write it as data"}}
		}
	}
	return nil
}

// short keeps a source line that would fill the screen out of a message.
func short(s string) string {
	if len(s) > 200 {
		return ""
	}
	return s
}

type scanner struct {
	rego, yaml bool
	limits     Limits
	line, col  int
}

func (s *scanner) run(b []byte) string {
	depth, lineStart := 0, 0
	s.line = 1
	stop := func(at int, format string, args ...any) string {
		s.col = at - lineStart + 1
		return fmt.Sprintf(format, args...)
	}
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '\n':
			s.line++
			lineStart = i + 1
			if s.yaml {
				// Indentation is nesting too.
				n := 0
				for i+1+n < len(b) && (b[i+1+n] == ' ' || b[i+1+n] == '-') {
					n++
				}
				if n > 4*s.limits.Nesting {
					return stop(i+n, "it is nested deeper than %d", s.limits.Nesting)
				}
			}
		case c == '"':
			i, _ = s.text(b, i, '"', true, &lineStart)
		case c == '`' && s.rego:
			i, _ = s.text(b, i, '`', false, &lineStart)
		case c == '#' && (s.rego || s.yaml):
			for i+1 < len(b) && b[i+1] != '\n' {
				i++
			}
		case c == '(' || c == '[' || c == '{':
			if depth++; depth > s.limits.Nesting {
				return stop(i, "it is nested deeper than %d", s.limits.Nesting)
			}
		case c == ')' || c == ']' || c == '}':
			depth = max(0, depth-1)
		case c >= '0' && c <= '9':
			if i > 0 && (word(b[i-1])) {
				continue // part of a name
			}
			n := 1
			exp := -1 // where the exponent begins
			for i+n < len(b) && (word(b[i+n]) || b[i+n] == '.' || exp == n-1 && (b[i+n] == '+' || b[i+n] == '-')) {
				if b[i+n] == 'e' || b[i+n] == 'E' {
					exp = n
				}
				n++
			}
			if n > s.limits.Digits && !s.yaml {
				return stop(i, "a number has more than %d digits", s.limits.Digits)
			}
			if exp >= 0 && n-exp > 4 && digitsOnly(b[i:i+exp]) {
				return stop(i, "a number has an exponent beyond all use")
			}
			i += n - 1
		}
	}
	return ""
}

// text skips a string and returns its last index.
func (s *scanner) text(b []byte, i int, end byte, escapes bool, lineStart *int) (int, bool) {
	for i++; i < len(b); i++ {
		switch {
		case b[i] == end:
			return i, true
		case b[i] == '\\' && escapes:
			i++
		case b[i] == '\n':
			s.line++
			*lineStart = i + 1
		}
	}
	return i, false
}

func word(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func digitsOnly(b []byte) bool {
	for _, c := range b {
		if c != '.' && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

package server

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Text in proto3 is UTF-8; a path, an argument and a name may be any bytes.
// What is valid goes out as it is. In what is not, each byte that belongs to no
// character becomes \xNN and each backslash \\, and the record lists the field
// as escaped: nothing is lost, and no two byte strings look alike.

// escape returns s as UTF-8 and whether it had to be changed.
func escape(s string) (string, bool) {
	if !invalid(s) {
		return s, false
	}
	return escapeAlways(s), true
}

func invalid(s string) bool { return !utf8.ValidString(s) }

func escapeAlways(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case r == '\\':
			b.WriteString(`\\`)
		default:
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// unescape is the inverse, for a string that was changed.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case strings.HasPrefix(s[i:], `\\`):
			b.WriteByte('\\')
			i++
		case strings.HasPrefix(s[i:], `\x`) && len(s) >= i+4:
			c, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil {
				b.WriteByte(s[i])
				continue
			}
			b.WriteByte(byte(c))
			i += 3
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

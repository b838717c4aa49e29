// Package jsontext writes JSON by appending, without reflection, in a form in
// which every character is printable: names that an attacker chose cannot make
// a line, a record or a terminal command.
package jsontext

import (
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Writer appends one JSON value to Buf. A key of "" stands for no key: the
// value is then an element of an array, or the outermost one. The zero Writer
// is ready for use.
type Writer struct {
	Buf []byte
	// Escaped lists the fields whose bytes were not UTF-8, as keys joined by
	// dots. In them an invalid byte is written \xNN and a backslash \\, so that
	// the bytes can be had back.
	Escaped []string

	path  []string
	comma bool
}

// Reset makes w ready for another value, appended to buf.
func (w *Writer) Reset(buf []byte) {
	*w = Writer{Buf: buf, path: w.path[:0]}
}

func (w *Writer) key(k string) {
	if w.comma {
		w.Buf = append(w.Buf, ',')
	}
	w.comma = true
	if k != "" {
		w.quote(k)
		w.Buf = append(w.Buf, ':')
	}
}

// Object begins an object.
func (w *Writer) Object(key string) { w.open(key, '{') }

// End ends the innermost object.
func (w *Writer) End() { w.shut('}') }

// Array begins an array.
func (w *Writer) Array(key string) { w.open(key, '[') }

// EndArray ends the innermost array.
func (w *Writer) EndArray() { w.shut(']') }

func (w *Writer) open(key string, b byte) {
	w.key(key)
	w.Buf = append(w.Buf, b)
	w.comma = false
	w.path = append(w.path, key)
}

func (w *Writer) shut(b byte) {
	w.Buf = append(w.Buf, b)
	w.comma = true
	w.path = w.path[:len(w.path)-1]
}

// Str writes a string.
func (w *Writer) Str(key, s string) {
	w.key(key)
	if !utf8.ValidString(s) {
		w.mark(key)
		s = escapeBytes(s)
	}
	w.quote(s)
}

// Opt writes a string unless it is empty.
func (w *Writer) Opt(key, s string) {
	if s != "" {
		w.Str(key, s)
	}
}

// Strs writes an array of strings, nothing if there are none. If one of them
// has to be escaped all are, so that one mark does for the field.
func (w *Writer) Strs(key string, list []string) {
	if len(list) == 0 {
		return
	}
	bad := false
	for _, s := range list {
		bad = bad || !utf8.ValidString(s)
	}
	if bad {
		w.mark(key)
	}
	w.Array(key)
	for _, s := range list {
		if bad {
			s = escapeBytes(s)
		}
		w.key("")
		w.quote(s)
	}
	w.EndArray()
}

// Int writes an integer.
func (w *Writer) Int(key string, n int64) {
	w.key(key)
	w.Buf = strconv.AppendInt(w.Buf, n, 10)
}

// Uint writes an integer as it is; above 2^53 most readers round it.
func (w *Writer) Uint(key string, n uint64) {
	if n > math.MaxInt64 {
		w.key(key)
		w.Buf = strconv.AppendUint(w.Buf, n, 10)
		return
	}
	w.Int(key, int64(n))
}

// Bool writes a boolean.
func (w *Writer) Bool(key string, b bool) {
	w.key(key)
	w.Buf = strconv.AppendBool(w.Buf, b)
}

// Flag writes true, or nothing.
func (w *Writer) Flag(key string, b bool) {
	if b {
		w.Bool(key, b)
	}
}

func (w *Writer) mark(key string) {
	parts := make([]string, 0, len(w.path)+1)
	for _, p := range append(w.path, key) {
		if p != "" {
			parts = append(parts, p)
		}
	}
	w.Escaped = append(w.Escaped, strings.Join(parts, "."))
}

// escapeBytes makes UTF-8 of s; the inverse is in docs/events.md.
func escapeBytes(s string) string {
	const hex = "0123456789abcdef"
	out := make([]byte, 0, len(s)+16)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			out = append(out, '\\', 'x', hex[s[i]>>4], hex[s[i]&15])
		case r == '\\':
			out = append(out, '\\', '\\')
		default:
			out = append(out, s[i:i+n]...)
		}
		i += n
	}
	return string(out)
}

// quote writes s, which is UTF-8, as a JSON string.
func (w *Writer) quote(s string) {
	b := append(w.Buf, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[from:i]...)
		n := 1
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, '\\', 'n')
		case c == '\t':
			b = append(b, '\\', 't')
		case c < utf8.RuneSelf:
			b = appendUnit(b, rune(c))
		default:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			b = appendRune(b, r)
		}
		i += n
		from = i
	}
	w.Buf = append(append(b, s[from:]...), '"')
}

// appendRune leaves what shows on a screen and escapes the rest: C1 controls,
// direction marks and the like.
func appendRune(b []byte, r rune) []byte {
	switch {
	case unicode.IsPrint(r) && r != utf8.RuneError:
		return utf8.AppendRune(b, r)
	case r > 0xffff:
		hi, lo := utf16.EncodeRune(r)
		return appendUnit(appendUnit(b, hi), lo)
	}
	return appendUnit(b, r)
}

func appendUnit(b []byte, r rune) []byte {
	const hex = "0123456789abcdef"
	return append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
}

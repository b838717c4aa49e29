package jsontext

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestWriter(t *testing.T) {
	var w Writer
	w.Object("")
	w.Str("a", "x\"y\\\n\t\x00\u009b2J\u202e😀")
	w.Opt("none", "")
	w.Strs("empty", nil)
	w.Object("o")
	w.Strs("list", []string{`a\b`, "\xff"})
	w.Str("bad", "\xfe\\")
	w.End()
	w.Array("n")
	w.Int("", -1)
	w.Uint("", 1<<63)
	w.Bool("", false)
	w.EndArray()
	w.Flag("t", true)
	w.Flag("f", false)
	w.End()
	want := `{"a":"x\"y\\\n\t\u0000\u009b2J\u202e😀","o":{"list":["a\\\\b","\\xff"],"bad":"\\xfe\\\\"},"n":[-1,9223372036854775808,false],"t":true}`
	if got := string(w.Buf); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !reflect.DeepEqual(w.Escaped, []string{"o.list", "o.bad"}) {
		t.Errorf("escaped %q", w.Escaped)
	}
	w.Reset(w.Buf[:0])
	w.Int("", 7)
	if string(w.Buf) != "7" || w.Escaped != nil {
		t.Errorf("after Reset: %s, %q", w.Buf, w.Escaped)
	}
}

// FuzzString: whatever the bytes are, the text is one line of printable JSON
// from which they can be had back.
func FuzzString(f *testing.F) {
	for _, s := range []string{"", "a", "a\nb", `\x41`, "\xff", "\\\xff\\xff", "\u2028\u0085", "\U000e0041", "\xed\xa0\x80", "\u007f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var w Writer
		w.Object("")
		w.Str("k", s)
		w.End()
		for _, r := range string(w.Buf) {
			if !unicode.IsPrint(r) || r == utf8.RuneError {
				t.Fatalf("%q makes %q", s, w.Buf)
			}
		}
		var back struct{ K string }
		if err := json.Unmarshal(w.Buf, &back); err != nil {
			t.Fatalf("%q makes %s: %v", s, w.Buf, err)
		}
		if w.Escaped != nil {
			back.K = unescape(back.K)
		}
		if back.K != s {
			t.Fatalf("%q comes back as %q", s, back.K)
		}
	})
}

// unescape is the inverse as the documentation gives it.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		if s[i] == 'x' {
			n := strings.IndexByte("0123456789abcdef", s[i+1])<<4 | strings.IndexByte("0123456789abcdef", s[i+2])
			b.WriteByte(byte(n))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func BenchmarkString(b *testing.B) {
	var w Writer
	for b.Loop() {
		w.Reset(w.Buf[:0])
		w.Str("", "/usr/lib/x86_64-linux-gnu/perl-base/auto/List/Util/Util.so")
	}
}

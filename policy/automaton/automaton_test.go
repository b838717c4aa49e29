package automaton

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// walk collects what a text meets, as the kernel does.
func walk(d *DFA, text string) uint64 {
	s := d.Start
	met := d.Now[s]
	for i := range len(text) {
		s = d.To(s, text[i])
		met |= d.Now[s]
	}
	return met | d.End[s]
}

// bits of texts: ASCII, whole runes, parts of runes and bytes that begin none.
var textParts = []string{"a", "b", "A", "Z", "_", "0", "/", "-", " ", "\n", ".", "k", "K", "s", "é", "ſ", "\u212a", "€", "\U0001f600", "\ufffd",
	"\xff", "\xc3", "\xe2\x82", "\x82", "\xf0\x9f", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\x80", "\xe0\x80", "\xef\xbf"}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(9) {
		b.WriteString(textParts[r.IntN(len(textParts))])
	}
	return b.String()
}

func randomPattern(r *rand.Rand, deep int) string {
	if deep == 0 || r.IntN(3) == 0 {
		parts := []string{"a", "b", "k", "é", "€", "\ufffd", ".", "(?s:.)", "[^/]", "[ab]", "[a-k]", "[^a]", `\S`, `\s`, `\w`, `\W`, `\d`, "^", "$", `\A`, `\z`,
			`\b`, `\B`, "(?m:^)", "(?m:$)", "(?i:k)", "(?i:s)", "(?i:é)", `\pL`, `[^\x00-\x7f]`, `[é-€]`, "/", "-", `\n`, `\x{1f600}`, "(?i:[a-k])", "", `[^\s\S]`}
		return parts[r.IntN(len(parts))]
	}
	one := func() string { return randomPattern(r, deep-1) }
	switch r.IntN(7) {
	case 0:
		return "(?:" + one() + "|" + one() + ")"
	case 1:
		return "(" + one() + ")" + []string{"*", "+", "?", "*?", "{2}", "{1,3}", "{2,}"}[r.IntN(7)]
	case 2:
		return one() + ".*" + one()
	}
	return one() + one()
}

func check(t *testing.T, pattern string, texts ...string) bool {
	t.Helper()
	re, err := regexp.Compile(pattern)
	if err != nil {
		return false
	}
	d, err := Regex([]string{pattern}, 1)
	if err != nil {
		if !errors.Is(err, ErrStates) && !errors.Is(err, ErrClasses) && !errors.Is(err, ErrWork) {
			t.Errorf("%q: %v", pattern, err)
		}
		return false
	}
	for _, s := range texts {
		if want, got := re.MatchString(s), walk(d, s) == 1; got != want {
			t.Errorf("%q on %q: automaton says %v, regexp %v", pattern, s, got, want)
		}
	}
	return true
}

// TestRegexIsRegexp compares automata with package regexp, over texts that are
// no UTF-8, too.
func TestRegexIsRegexp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	made, most := 0, 800
	if testing.Short() {
		most = 100
	}
	for range most {
		texts := []string{"", "\n"}
		for range 60 {
			texts = append(texts, randomText(r))
		}
		if check(t, randomPattern(r, 4), texts...) {
			made++
		}
		if t.Failed() {
			return
		}
	}
	if made < most*3/4 {
		t.Errorf("only %d of %d patterns have an automaton", made, most)
	}
}

func FuzzRegex(f *testing.F) {
	f.Add(`^.$`, "\xe2\x82")
	f.Add(`(?i)\bk[^/]{2}`, "\u212aé\xff")
	f.Add(`(?m)^a.*$`, "b\na\xc3")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) < 200 && !strings.Contains(pattern+text, "\x00") {
			check(t, pattern, text)
		}
	})
}

// TestValues compares the other tests of text with package strings, and all of
// them joined to one automaton with each by itself.
func TestValues(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	is := map[Where]func(s, v string) bool{
		Whole: func(s, v string) bool { return s == v }, AtBegin: strings.HasPrefix, AtEnd: strings.HasSuffix, Anywhere: strings.Contains,
	}
	for range 300 {
		var all *DFA
		var want []func(string) bool
		for range 1 + r.IntN(5) {
			var d *DFA
			var err error
			bit := uint64(1) << len(want)
			if r.IntN(3) == 0 {
				p := randomPattern(r, 2)
				re, bad := regexp.Compile(p)
				if bad != nil {
					continue
				}
				d, err = Regex([]string{p}, bit)
				want = append(want, re.MatchString)
			} else {
				where := Where(r.IntN(4))
				vals := []string{randomText(r), randomText(r)}
				d, err = Values(vals, where, bit)
				want = append(want, func(s string) bool {
					return slices.ContainsFunc(vals, func(v string) bool { return is[where](s, v) })
				})
			}
			if err != nil {
				want = want[:len(want)-1]
				continue
			}
			if all == nil {
				all = d
			} else if j := Join(all, d); j != nil {
				all = j
			} else {
				want = want[:len(want)-1]
			}
		}
		if all == nil {
			continue
		}
		for range 100 {
			s := randomText(r)
			met := walk(all, s)
			for i, f := range want {
				if (met>>i&1 == 1) != f(s) {
					t.Fatalf("test %d of %d on %q: got %v", i, len(want), s, !f(s))
				}
			}
		}
	}
}

// TestManyAnywhere: what is met in a text does not multiply the states.
func TestManyAnywhere(t *testing.T) {
	all, err := Regex([]string{"zero"}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < 60; i++ {
		c := string(rune('A' + i%26))
		var d *DFA
		if i%2 == 0 {
			d, err = Values([]string{"word" + c + c}, Anywhere, 1<<i)
		} else {
			d, err = Regex([]string{`word` + c + `[0-9]+`}, 1<<i)
		}
		if err != nil {
			t.Fatal(err)
		}
		if all = Join(all, d); all == nil || len(all.Now) > 10*i+20 {
			t.Fatalf("with %d tests it has too many states", i+1)
		}
	}
}

// TestMinimal: states that no text tells apart are one, and the size is known.
func TestMinimal(t *testing.T) {
	for _, c := range []struct {
		pattern string
		states  int
	}{
		{"", 2},            // met at once
		{"abc", 5},         // dead, nothing, a, ab, met
		{"^abc", 5},        // the same, but it dies
		{"^abc$", 5},       // a, ab, and abc if it ends there
		{".*a.*", 3},       // like a
		{`[^\s\S]`, 1},     // never
		{`a$`, 3},          // dead, nothing, a
		{"(a|b)*abb$", 5},  // of textbooks
		{`^[^/]*/x`, 4},    // runes need no states
		{`(curl|wget)`, 9}, // shares the end
	} {
		d, err := Regex([]string{c.pattern}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(d.Now) != c.states {
			t.Errorf("%q: %d states, want %d", c.pattern, len(d.Now), c.states)
		}
	}
}

// TestHostile: what is too much is refused soon, and says why.
func TestHostile(t *testing.T) {
	for _, c := range []struct {
		pattern string
		want    error
	}{
		{`(a|b)*a(a|b){12}$`, ErrStates},
		{`(a|b)*a(a|b){12}`, ErrStates},
		{`(a|b)*a(a|b){10}$`, nil},
		{`(x+x+)+y`, nil},
		{`((a{0,30}){0,30})`, nil},
		{`(((a{0,9}){0,9}){0,9})b`, nil},
		{`(.{1,30}x.{1,30}y.{1,30}z){1,10}`, ErrWork},
		{`(.{0,100}a.{0,100}b){5}`, ErrWork},
		{`[^/]{500}`, ErrWork},
		{`[^/]{50}`, nil},
		{"(" + strings.Repeat("abcdefgh", 200) + "){1000}", ErrSize},
		{strings.Repeat(`(\pL|\pN){3}`, 100), ErrWork},
		{`\pL`, nil},
		{`\pL{2}\pN\p{Greek}`, nil},
		{strings.Repeat("(a*)*", 300), nil},
	} {
		start := time.Now()
		_, err := Regex([]string{c.pattern}, 1)
		took := time.Since(start)
		t.Logf("%.40q: %v in %v", c.pattern, err, took)
		if !errors.Is(err, c.want) {
			t.Errorf("%.40q: %v, want %v", c.pattern, err, c.want)
		}
		if took > 2*time.Second {
			t.Errorf("%.40q: took %v", c.pattern, took)
		}
	}
	for _, p := range []string{"a\x00", "(", "\xff"} {
		if _, err := Regex([]string{p}, 1); err == nil {
			t.Errorf("%q was taken", p)
		}
	}
}

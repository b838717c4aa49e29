package bpf

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// walkTexts does what read_text of text.h does: the tests that texts meet, and
// whether a variable came twice.
func walkTexts(states []kernelTextState, conf *kernelTextConf, env bool, texts []string) (met uint64) {
	for nth, s := range texts {
		state, mask := conf.ArgState, conf.At[min(nth, len(conf.At)-1)]
		if env {
			state, mask = conf.EnvState, 0
		}
		for i := 0; ; i++ {
			row := &states[state]
			if row.Var != 0 {
				v := &conf.Var[row.Var-1]
				mask = v.Mask
				row = &states[v.State]
			}
			met |= row.Now & mask
			if i == len(s) {
				met |= row.End & mask
				break
			}
			state = uint32(row.Next[conf.Class[s[i]]])
		}
	}
	return met
}

func textCond(op ir.Op, at int, name string, vals ...string) ir.Cond {
	c := ir.Cond{Field: event.FieldArgs, Op: op, At: at, Var: name, Strs: vals}
	if name != "" {
		c.Field = event.FieldEnv
	}
	return c
}

// TestTexts compares the tables of random tests, walked as the kernel does, with
// what the conditions say.
func TestTexts(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	all := func(l []string) []string { return sorted([]string{l[r.IntN(len(l))]}) }
	taken := 0
	for range 60 {
		ts := newTextTests()
		var conds []ir.Cond
		for range 1 + r.IntN(12) {
			c := randomText(r, all)
			if c.IsText() && ts.take(&c) {
				conds = append(conds, c)
				taken++
			}
		}
		states, conf := ts.build()
		for range 200 {
			k := randomKey(r, event.HookExec)
			var env []string
			for name, v := range k.Env {
				env = append(env, name+"="+v)
			}
			met := walkTexts(states, &conf, false, k.Str[event.FieldArgs]) | walkTexts(states, &conf, true, env)
			for i := range conds {
				if got, want := met&ts.bit(&conds[i]) != 0, conds[i].Holds(k); got != want {
					t.Fatalf("%s: table says %v, condition %v\nargs %q env %q", conds[i].String(), got, want, k.Str[event.FieldArgs], env)
				}
			}
		}
	}
	if taken < 150 {
		t.Errorf("only %d tests", taken)
	}
}

// TestTextsNeverMet: arguments are looked at for a test that no text meets, since
// one that is too long to be looked at whole must be known for that.
func TestTextsNeverMet(t *testing.T) {
	ts := newTextTests()
	c := textCond(ir.OpRegex, 0, "", `a\bb`)
	if !ts.take(&c) {
		t.Fatal("no room")
	}
	if _, conf := ts.build(); conf.ArgState == 0 {
		t.Error("arguments are not looked at")
	}
}

// TestTextsFit: 60 ordinary regular expressions are one automaton soon; what does
// not fit is found out soon, and what is taken stays right.
func TestTextsFit(t *testing.T) {
	for _, m := range []struct {
		name, pattern string
		least, most   int
	}{
		{"words", `^--word-%c(=.*)?$`, 60, 60},
		{"anywhere", `(curl|wget) +-%c[^ ]* (http|ftp)://`, 60, 60},
		{"ends", `\.%c(sh|py)$`, 60, 60},
		{"far apart", `%c.*x`, 10, 12}, // each of these doubles the states
		{"hostile", `%c(a|b){9}$`, 2, 10},
		{"too much", `(a|b)*%c(a|b){12}$`, 58, 58}, // those of a and b each by itself
	} {
		ts := newTextTests()
		start := time.Now()
		var conds []ir.Cond
		for i := range 60 {
			c := textCond(ir.OpRegex, 0, "", fmt.Sprintf(m.pattern, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[i]))
			if ts.take(&c) {
				conds = append(conds, c)
			}
			if ts.take(&c) != (len(conds) > 0 && conds[len(conds)-1].Strs[0] == c.Strs[0]) {
				t.Fatalf("%s: another answer when asked again", m.name)
			}
		}
		states, conf := ts.build()
		took := time.Since(start)
		t.Logf("%-10s %d tests, %d states, in %v", m.name, len(conds), len(states), took)
		if len(conds) < m.least || len(conds) > m.most || len(states) > maxTextStates {
			t.Errorf("%s: %d tests are taken, %d states", m.name, len(conds), len(states))
		}
		// What one costs is bounded where it is made (maxWork), so this bounds the time.
		if ts.missed > maxTextTries {
			t.Errorf("%s: %d tests were tried that did not fit", m.name, ts.missed)
		}
		for _, s := range []string{"--word-a", "--word-b=", "curl -cx http://", "a.fsh", "ax", "aaxb", "abbbbbbbbb", "aabababababab" + strings.Repeat("b", 9)} {
			met := walkTexts(states, &conf, false, []string{s})
			k := new(ir.Key)
			k.Str[event.FieldArgs] = []string{s}
			for i := range conds {
				if got, want := met&ts.bit(&conds[i]) != 0, conds[i].Holds(k); got != want {
					t.Errorf("%s on %q: table says %v", conds[i].String(), s, got)
				}
			}
		}
	}
}

// TestTextsBounds: each bound is kept, and what was taken before stays.
func TestTextsBounds(t *testing.T) {
	ts := newTextTests()
	for i := range maxTextVars + 1 {
		c := textCond(ir.OpPrefix, 0, fmt.Sprintf("VAR%d", i), "x")
		if got, want := ts.take(&c), i < maxTextVars; got != want {
			t.Errorf("variable %d: taken %v", i, got)
		}
	}
	for i := range maxTextTests {
		c := textCond(ir.OpIn, 0, "", fmt.Sprint(i))
		if got, want := ts.take(&c), i+maxTextVars < maxTextTests; got != want {
			t.Errorf("test %d: taken %v", i, got)
		}
	}
	if c := textCond(ir.OpIn, maxTextAt+1, "", "x"); newTextTests().take(&c) {
		t.Error("an index beyond those that are told apart is taken")
	}
	var kinds strings.Builder
	for b := 1; b < 256; b++ {
		kinds.WriteByte(byte(b))
	}
	if c := textCond(ir.OpIn, 0, "", kinds.String()); newTextTests().take(&c) {
		t.Error("all bytes are told apart")
	}
	if c := textCond(ir.OpIn, 0, "", strings.Repeat("x", maxTextStates)); newTextTests().take(&c) {
		t.Error("more states than there are")
	}
	full := newTextTests()
	for i := range maxTextTries {
		if c := textCond(ir.OpIn, 0, "", fmt.Sprint(i)+strings.Repeat("x", maxTextStates)); full.take(&c) {
			t.Error("more states than there are")
		}
	}
	if c := textCond(ir.OpIn, 0, "", "x"); full.take(&c) {
		t.Error("tests are tried without end")
	}
	two := newTextTests()
	first, second := textCond(ir.OpIn, 0, "", kinds.String()[:100]), textCond(ir.OpIn, 0, "A", kinds.String()[100:200])
	if !two.take(&first) || two.take(&second) || len(two.conds) != 1 || len(two.vars) != 0 {
		t.Errorf("classes of two automata: %d tests, %d variables", len(two.conds), len(two.vars))
	}
}

package ir

import (
	"fmt"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
)

// TestRegex: patterns hold anywhere in a text unless they say otherwise, for one
// of the arguments or the one at an index, and bytes that are no UTF-8 count as
// one rune each.
func TestRegex(t *testing.T) {
	for _, c := range []struct {
		c    Cond
		args []string
		want bool
		text string
	}{
		{cond(event.FieldArgs, OpRegex, "^b", "c$"), []string{"ab", "xc"}, true, `some of args matching {"^b", "c$"}`},
		{cond(event.FieldArgs, OpRegex, "^b", "c$"), []string{"ab", "cx"}, false, `some of args matching {"^b", "c$"}`},
		{no(cond(event.FieldArgs, OpRegex, "^b")), []string{"ab", "b"}, false, `none of args matching {"^b"}`},
		{no(cond(event.FieldArgs, OpRegex, "^b")), nil, true, `none of args matching {"^b"}`},
		{Cond{Field: event.FieldArgs, Op: OpRegex, Strs: []string{"^.$"}, At: 2}, []string{"ab", "\xff"}, true, `args[1] matching {"^.$"}`},
		{Cond{Field: event.FieldArgs, Op: OpRegex, Strs: []string{"^.$"}, At: 1}, []string{"\xe2\x82", "a"}, false, `args[0] matching {"^.$"}`},
		{Cond{Field: event.FieldEnv, Op: OpRegex, Strs: []string{"a"}, Var: "A"}, nil, true, `env.A matching {"a"}`},
		{Cond{Field: event.FieldEnv, Op: OpRegex, Strs: []string{""}, Var: "B", Negated: true}, nil, true, `env.B not matching {""}`},
	} {
		k := Key{Env: map[string]string{"A": "xa"}}
		k.Str[event.FieldArgs] = c.args
		if got := c.c.Holds(&k); got != c.want {
			t.Errorf("%s with %q: %v", c.c.String(), c.args, got)
		}
		if got := c.c.String(); got != c.text {
			t.Errorf("it is written %s, want %s", got, c.text)
		}
		if err := c.c.validate(event.HookExec); err != nil {
			t.Error(err)
		}
	}
}

// TestRegexKept: what is kept compiled is bounded, and right beyond that.
func TestRegexKept(t *testing.T) {
	for i := range 2*maxCompiled + 10 {
		if p := fmt.Sprintf("^a%d$", i); !matches(fmt.Sprintf("a%d", i), p) || matches("a", p) {
			t.Fatal(p)
		}
		if n := len(compiled.compiled); n > maxCompiled {
			t.Fatalf("%d are kept", n)
		}
	}
}

// TestInterestingRegex: the keys of a program hold a text that matches.
func TestInterestingRegex(t *testing.T) {
	for _, pattern := range []string{"^a+b?(c|d)$", "x{3}[^a-z]", `^\S.*\.sh$`, "(?i)k", `\bq`, "^[^/]+/", `[\x00b]`} {
		c := cond(event.FieldArgs, OpRegex, pattern)
		p := &Program{Rules: map[event.Hook][]Rule{event.HookExec: {{Clauses: []Clause{{When: []Cond{c}}}}}}}
		met, not := false, false
		for _, k := range p.InterestingKeys(event.HookExec) {
			met, not = met || c.Holds(&k), not || !c.Holds(&k)
			if s := strings.Join(k.Str[event.FieldArgs], ""); strings.Contains(s, "\x00") {
				t.Errorf("%s: %q is no argument", pattern, s)
			}
		}
		if !met || !not {
			t.Errorf("%s: holds for a key %v, does not for one %v", pattern, met, not)
		}
	}
}

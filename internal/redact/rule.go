package redact

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Rule says what is a secret. Names of more than two characters are compared
// without regard to case; * stands for letters, digits, dots, dashes and
// underscores.
type Rule struct {
	Name     string   `yaml:"name"`     // for counters
	Programs []string `yaml:"programs"` // the rule is for these programs only, by the last part of their names
	Options  []string `yaml:"options"`  // options whose value is a secret: "-*password" is for --password=X, --db-password X
	Attached []string `yaml:"attached"` // options with the value behind them without anything between: "-p" is for -pX
	Env      []string `yaml:"env"`      // names of variables; for arguments of the form NAME=VALUE too
	Patterns []string `yaml:"patterns"` // regular expressions (RE2): the group "secret", or the first group, or all of it is the secret
}

// Error is a mistake in a rule.
type Error struct {
	Rule int    // its place in the list, from 0
	Name string // of the rule
	Why  string
}

func (e *Error) Error() string {
	return fmt.Sprintf("compile redaction rule %d (%q): %s", e.Rule+1, e.Name, e.Why)
}

// rule is a Rule made ready.
type rule struct {
	Rule
	options, whole []*regexp.Regexp // of one argument
	vars           []*regexp.Regexp // of a variable's name
	patterns       []pattern        // within a text
	words          []string         // one of them is in every text that the rule concerns; nil: nobody knows
}

type pattern struct {
	re    *regexp.Regexp
	group int
}

const (
	// quoted is a value within a command line.
	quoted = `("(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s;&|"'()]+)`
	// start is what may stand before a name there.
	start = `(?:^|[\s;&|({"'` + "`" + `])`
)

func compile(i int, in Rule) (*rule, error) {
	bad := func(format string, args ...any) (*rule, error) {
		return nil, &Error{Rule: i, Name: in.Name, Why: fmt.Sprintf(format, args...)}
	}
	if in.Name == "" {
		return bad("it has no name")
	}
	if len(in.Options)+len(in.Attached)+len(in.Env)+len(in.Patterns) == 0 {
		return bad("it has none of options, attached, env, patterns")
	}
	r := &rule{Rule: in, words: []string{}}
	add := func(re string, group int) error {
		c, err := regexp.Compile(re)
		if err != nil {
			return err
		}
		if n := c.SubexpIndex("secret"); n > 0 {
			group = n
		} else if group < 0 {
			group = min(1, c.NumSubexp())
		}
		r.patterns = append(r.patterns, pattern{c, group})
		return nil
	}
	for _, o := range slices.Concat(in.Options, in.Attached, in.Env) {
		if strings.Trim(o, "*-_") == "" || strings.ContainsAny(o, "= \t\n") {
			return bad("%q is too little, or has characters that no name has", o)
		}
		r.word(longest(strings.Split(o, "*")))
	}
	for _, o := range in.Options {
		r.options = append(r.options, regexp.MustCompile(`^`+glob(o)+`(?:$|=)`))
		if len(in.Programs) == 0 {
			if err := add(start+glob(o)+`(?:=|\s+)`+quoted, 1); err != nil {
				return bad("%v", err)
			}
		}
	}
	for _, o := range in.Env {
		r.vars = append(r.vars, regexp.MustCompile(`^`+glob(o)+`$`))
		r.whole = append(r.whole, regexp.MustCompile(`^`+glob(o)+`=`))
		if err := add(start+glob(o)+`=`+quoted, 1); err != nil {
			return bad("%v", err)
		}
	}
	for _, p := range in.Patterns {
		if err := add(p, -1); err != nil {
			return bad("%v", err)
		}
		if last := r.patterns[len(r.patterns)-1]; last.re.MatchString("") {
			return bad("pattern %s matches the empty text", p)
		}
		needed := required(p)
		if needed == nil {
			r.words = nil
		}
		for _, w := range needed {
			r.word(w)
		}
	}
	return r, nil
}

// word notes a word that the rule cannot do without.
func (r *rule) word(w string) {
	if r.words == nil || len(w) < shortestWord {
		r.words = nil
		return
	}
	r.words = append(r.words, w)
}

// forProgram reports whether options of this rule are options of a program.
func (r *rule) forProgram(names ...string) bool {
	return len(r.Programs) == 0 || slices.ContainsFunc(r.Programs, func(p string) bool { return slices.Contains(names, p) })
}

// option reports whether an argument is one of the options, and where its
// value begins: at its end if that is the next argument.
func (r *rule) option(arg string) (int, bool) {
	for _, o := range r.options {
		if m := o.FindStringIndex(arg); m != nil {
			return m[1], true
		}
	}
	for _, o := range r.Attached {
		if len(arg) > len(o) && strings.HasPrefix(arg, o) {
			return len(o), true
		}
	}
	return 0, false
}

// assignment reports whether an argument sets one of the variables, and where
// the value begins. An empty value is none.
func (r *rule) assignment(arg string) (int, bool) {
	for _, v := range r.whole {
		if m := v.FindStringIndex(arg); m != nil && m[1] < len(arg) {
			return m[1], true
		}
	}
	return 0, false
}

func (r *rule) variable(name string) bool {
	return slices.ContainsFunc(r.vars, func(v *regexp.Regexp) bool { return v.MatchString(name) })
}

// glob is a regular expression for a name with stars.
func glob(s string) string {
	parts := strings.Split(s, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	re := strings.Join(parts, `[A-Za-z0-9_.-]*`)
	if len(s) > 2 {
		return `(?i:` + re + `)`
	}
	return re
}

func longest(in []string) string {
	return slices.MaxFunc(in, func(a, b string) int { return len(a) - len(b) })
}

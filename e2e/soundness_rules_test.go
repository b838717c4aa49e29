package e2e

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"example.com/bailiff/internal/event"
)

// The constants that random rules and inputs are made of: few, so that they meet.
var (
	soundPaths   = []string{"/usr/bin/a", "/usr/bin/b", "/etc/shadow", "/tmp/x.so", "/srv/deep/er/file", "/srv/deep/x.so", "[0:5]/memfd:a"}
	soundDirs    = []string{"/usr/", "/usr/bin/", "/etc/", "/srv/", "/srv/deep/", "/tmp/"}
	soundEnds    = []string{".so", "a", "adow", "/file", "/er/file"}
	soundWords   = []string{"a", "b", "x.so", "shadow", "file", "--flag"}
	soundRegexes = []string{"a", "^a$", "^.$", "b|file", `^--?\\w+$`, "(?i)FLAG", `^[^-]{2}`, `\\bso\\b`, `^\\S*$`, "", "é", "^[^é]*$", `so\\z`}
	soundTexts   = append([]string{"é", "xé", "\xff", "\xc3", "a\xe2\x82", "K\u212a", "\n"}, soundWords...) // of arguments and variables
	soundNums    = []uint64{0, 1, 2, 3, 999, 1000, 1001, 2048, 0o100755, 65535}
	soundDigests = []string{strings.Repeat("a", 64), strings.Repeat("ab", 32), strings.Repeat("0", 63) + "f"}
	soundSeals   = []string{"sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("ab", 32), "sha512:" + strings.Repeat("ab", 64)}
	soundIDs     = []string{"hosts", "keys", "shadow"}
)

const soundData = `{"bailiff": {"identities": {"shadow": ["/etc/shadow"], "keys": ["/srv/key", "/srv/key2"], "hosts": ["/etc/hosts"]}},
"lists": {"paths": ["/usr/bin/a", "/srv/deep/er/file", "/none"], "words": ["a", "shadow"], "digests": {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": true, "abababababababababababababababababababababababababababababababab": true, "sha256:abababababababababababababababababababababababababababababababab": true}, "sums": ["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "sha512:abababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababab", "abababababababababababababababababababababababababababababababab", "000000000000000000000000000000000000000000000000000000000000000f"], "nums": [1, 1000, 2048], "dirs": ["/usr/", "/srv/deep/"],
"info": {"/usr/bin/a": {"level": 3}, "a": {"level": 3}, "/etc/shadow": {"level": 8}}}}`

func any1[T any](r *rand.Rand, l []T) T { return l[r.IntN(len(l))] }

// rego writes a random policy for the hook of the turn. Each rule reads the field
// whose turn it is, and others; reads lists them by the rule's id.
func (s *soundness) rego() (text string, reads map[string][]string) {
	var fields []event.Field
	for _, f := range event.Fields {
		if f.In(s.hook) {
			fields = append(fields, f)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "package bailiff.%s\n\nknown(p) if p in data.lists.paths\n\nknown(p) if startswith(p, \"/etc/\")\n", s.hook)
	reads, s.helpers = map[string][]string{}, nil
	for i := range 2 + s.r.IntN(4) {
		id := fmt.Sprintf("r%d", i)
		first := fields[s.next[s.hook]%len(fields)]
		s.next[s.hook]++
		list := []event.Field{first}
		for range s.r.IntN(3) {
			f := any1(s.r, fields)
			list = append(list, f)
		}
		var body []string
		for j, f := range list {
			body = append(body, s.statement(f, fmt.Sprintf("v%d", j), list))
			if !slices.Contains(reads[id], f.Path) {
				reads[id] = append(reads[id], f.Path)
			}
		}
		set := any1(s.r, []string{"deny", "deny", "alert"})
		mode := any1(s.r, []string{"", "", ", undecided: deny"})
		if s.hook == event.HookExec && s.r.IntN(4) == 0 {
			mode = ", undecided: hold"
		}
		if set == "deny" && s.r.IntN(4) == 0 {
			mode += ", mode: audit"
		}
		if set == "alert" {
			mode = ""
		}
		fmt.Fprintf(&b, "\n# METADATA\n# custom: {id: %s%s}\n%s contains %q if {\n\t%s\n}\n", id, mode, set, id, strings.Join(body, "\n\t"))
	}
	for _, h := range s.helpers {
		b.WriteString("\n" + h)
	}
	return b.String(), reads
}

// statement writes a condition on a field, by its kind. v is a variable of its own.
func (s *soundness) statement(f event.Field, v string, others []event.Field) string {
	in := "input." + f.Path
	n := s.r.IntN(10)
	not := any1(s.r, []string{"", "", "not "})
	switch f.Kind {
	case event.KindPath:
		if f.ID == event.FieldShell && s.r.IntN(3) == 0 {
			return in + any1(s.r, []string{` == ""`, ` != ""`, ` in {"", "/usr/bin/a"}`})
		}
		return s.path(in, v, n, not)
	case event.KindString:
		return s.word(in, v, n, not)
	case event.KindDigest:
		return s.digest(f, in, n, not)
	case event.KindEnum:
		return s.enum(in, n, not)
	case event.KindInt:
		return s.number(f, in, n, not, others)
	case event.KindFlags:
		return s.member(in, v, n, not, f.Bits)
	case event.KindNames:
		return s.member(in, v, n, not, soundIDs)
	case event.KindPaths:
		switch {
		case n < 2:
			return fmt.Sprintf("%s%q in %s", not, any1(s.r, soundPaths), in)
		case n < 4:
			return fmt.Sprintf("some %s in %s\n\t%s", v, in, s.element(v))
		case n < 6:
			return fmt.Sprintf("some %s in %s\n\tnot %s", v, in, s.element(v))
		case n < 9:
			return s.every(in, v, not)
		}
		return fmt.Sprintf("count(%s) > 1", in)
	case event.KindList:
		switch {
		case n < 2:
			return fmt.Sprintf("%s%q in %s", not, any1(s.r, soundWords), in)
		case n < 4:
			return fmt.Sprintf("some %s in %s\n\t%s", v, in, s.text(v))
		case n < 5:
			return fmt.Sprintf("some %s in %s\n\t%s in data.lists.words", v, in, v)
		case n < 8:
			return not + s.text(fmt.Sprintf("%s[%d]", in, s.r.IntN(3)))
		}
		return fmt.Sprintf("count(%s) %s %d", in, any1(s.r, []string{"<", ">", "==", "!="}), s.r.IntN(3))
	case event.KindMap:
		if n < 8 {
			return not + s.text(in+any1(s.r, []string{".A", ".B"}))
		}
		return fmt.Sprintf("%sobject.get(%s, \"B\", \"\") %s %q", not, in, any1(s.r, []string{"==", "!="}), any1(s.r, append([]string{""}, soundWords...)))
	}
	panic(fmt.Sprintf("input.%s: no statement for kind %d", f.Path, f.Kind))
}

// element writes a test of one of a list of paths.
func (s *soundness) element(v string) string {
	switch s.r.IntN(4) {
	case 0:
		return fmt.Sprintf("startswith(%s, %q)", v, any1(s.r, soundDirs))
	case 1:
		return fmt.Sprintf("%s == %q", v, any1(s.r, soundPaths[:len(soundPaths)-1]))
	case 2:
		return fmt.Sprintf("known(%s)", v)
	}
	return fmt.Sprintf("%s in data.lists.paths", v)
}

// every writes what each of a list of paths passes, or with a helper rule, that one
// does not.
func (s *soundness) every(in, v, not string) string {
	each := fmt.Sprintf("every %s in %s {\n\t\t%s%s\n\t}", v, in, not, s.element(v))
	if s.r.IntN(2) == 0 {
		return each
	}
	name := fmt.Sprintf("each%d", len(s.helpers))
	s.helpers = append(s.helpers, fmt.Sprintf("%s if {\n\t%s\n}\n", name, each))
	return "not " + name
}

// text writes a test of a string that is known when the new image is in place, and
// may not be there.
func (s *soundness) text(of string) string {
	w := any1(s.r, soundWords)
	switch n := s.r.IntN(11); {
	case n >= 8:
		return fmt.Sprintf("regex.match(\"%s\", %s)", any1(s.r, soundRegexes), of)
	case n < 3:
		return fmt.Sprintf("%s(%s, %q)", []string{"startswith", "endswith", "contains"}[n], of, any1(s.r, []string{"", "a", "fl", ".so", w}))
	case n < 5:
		return fmt.Sprintf("%s == %q", of, w)
	case n < 6:
		return fmt.Sprintf("%s != %q", of, w)
	case n < 7:
		return fmt.Sprintf("%s in data.lists.words", of)
	}
	return of
}

func (s *soundness) path(in, v string, n int, not string) string {
	p := any1(s.r, soundPaths[:len(soundPaths)-1])
	switch n {
	case 0, 1:
		return fmt.Sprintf("%s%s == %q", not, in, p)
	case 2, 3:
		return fmt.Sprintf("%sstartswith(%s, %q)", not, in, any1(s.r, soundDirs))
	case 4:
		return fmt.Sprintf("%s%s in data.lists.paths", not, in)
	case 5:
		return fmt.Sprintf("%sendswith(%s, %q)", not, in, any1(s.r, soundEnds))
	case 6:
		return fmt.Sprintf("%scontains(%s, %q)", not, in, any1(s.r, []string{"deep", "in/", "e"}))
	case 7:
		return fmt.Sprintf("%sglob.match(%q, [\"/\"], %s)", not, any1(s.r, []string{"/usr/**", "/srv/*/x.so", "**/a"}), in)
	case 8:
		return fmt.Sprintf("%sregex.match(%q, %s)", not, any1(s.r, []string{"^/usr/", "^/(etc|srv)/", "so$", "e+r"}), in)
	}
	return fmt.Sprintf("%s := data.lists.info[%s]\n\t%s.level > %d", v, in, v, s.r.IntN(9))
}

func (s *soundness) word(in, v string, n int, not string) string {
	w := any1(s.r, soundWords[:5])
	switch {
	case n < 4:
		return fmt.Sprintf("%s%s == %q", not, in, w)
	case n < 5:
		return fmt.Sprintf("%s%s in data.lists.words", not, in)
	case n < 7:
		return fmt.Sprintf("%sendswith(%s, %q)", not, in, any1(s.r, soundEnds[:3]))
	case n < 8:
		return fmt.Sprintf("%scontains(%s, %q)", not, in, w[:1])
	}
	return fmt.Sprintf("%s := data.lists.info[%s]\n\t%s.level == 3", v, in, v)
}

// enum is about input.hook, with the acts that the package judges.
func (s *soundness) enum(in string, n int, not string) string {
	hook := func() string { return any1(s.r, s.hook.Hooks()).String() }
	switch {
	case n < 4:
		return fmt.Sprintf("%s%s == %q", not, in, hook())
	case n < 7:
		return fmt.Sprintf("%s%s in {%q, %q}", not, in, hook(), hook())
	case n < 9:
		return fmt.Sprintf("%s%s != %q", not, in, hook())
	}
	return fmt.Sprintf("%sstartswith(%s, %q)", not, in, hook()[:1])
}

func (s *soundness) number(f event.Field, in string, n int, not string, others []event.Field) string {
	x := any1(s.r, soundNums)
	switch {
	case n < 3:
		return fmt.Sprintf("%s%s == %d", not, in, x)
	case n < 6:
		return fmt.Sprintf("%s%s %s %d", not, in, any1(s.r, []string{"<", "<=", ">", ">="}), x)
	case n < 7:
		return fmt.Sprintf("%s%s in data.lists.nums", not, in)
	case n < 9:
		return fmt.Sprintf("%sbits.and(%s, %d) %s", not, in, any1(s.r, []uint64{1, 3, 0o111, 2048}), any1(s.r, []string{"!= 0", "== 0", "== 1"}))
	}
	for _, o := range others {
		if o.Kind == event.KindInt && o.Path != f.Path {
			return fmt.Sprintf("%s%s == input.%s", not, in, o.Path)
		}
	}
	return fmt.Sprintf("%s != %d", in, x)
}

func (s *soundness) member(in, v string, n int, not string, names []string) string {
	switch {
	case n < 6:
		return fmt.Sprintf("%s%q in %s", not, any1(s.r, names), in)
	case n < 8:
		return fmt.Sprintf("some %s in %s\n\t%s in {%q, %q}", v, in, v, any1(s.r, names), any1(s.r, names))
	case n < 9:
		return fmt.Sprintf("count(%s) > 0", in)
	}
	return fmt.Sprintf("count(%s) == 2", in)
}

// input makes a random document of an act, without names: they are ends of paths.
func (s *soundness) input(act event.Hook) map[string]any {
	doc := map[string]any{}
	for _, f := range event.Fields {
		if !slices.Contains(f.Hooks, act) || f.Path == "hook" || strings.HasSuffix(f.Path, ".name") {
			continue
		}
		at := doc
		keys := strings.Split(f.Path, ".")
		for _, k := range keys[:len(keys)-1] {
			if at[k] == nil {
				at[k] = map[string]any{}
			}
			at = at[k].(map[string]any)
		}
		at[keys[len(keys)-1]] = s.value(f)
	}
	return doc
}

func (s *soundness) value(f event.Field) any {
	some := func(l []string, most int) []any {
		out := []any{}
		for range s.r.IntN(most + 1) {
			if x := any1(s.r, l); !slices.Contains(out, any(x)) {
				out = append(out, x)
			}
		}
		return out
	}
	switch f.Kind {
	case event.KindPath:
		if f.ID == event.FieldShell && s.r.IntN(3) == 0 {
			return ""
		}
		return s.anyPath()
	case event.KindString:
		return any1(s.r, append([]string{""}, soundWords...))
	case event.KindDigest:
		if f.ID == event.FieldVerity {
			return any1(s.r, append([]string{"", "sha256:" + strings.Repeat("9", 64), "sha512:" + strings.Repeat("ab", 32) + strings.Repeat("9", 64)}, soundSeals...))
		}
		return any1(s.r, append([]string{"", strings.Repeat("9", 64)}, soundDigests...))
	case event.KindInt:
		n := any1(s.r, soundNums)
		if s.r.IntN(4) == 0 {
			n++
		}
		return n
	case event.KindFlags:
		// In their order, as the kernel gives them.
		return inOrder(f.Bits, some(f.Bits, 3))
	case event.KindNames:
		return inOrder(soundIDs, some(soundIDs, 2))
	case event.KindPaths:
		return some(soundPaths, 3)
	case event.KindList:
		return some(soundTexts, 3)
	case event.KindMap:
		m := map[string]any{}
		for _, k := range []string{"A", "B"} {
			if s.r.IntN(2) == 0 {
				m[k] = any1(s.r, append([]string{""}, soundTexts...))
			}
		}
		return m
	}
	panic(fmt.Sprintf("input.%s: no value for kind %d", f.Path, f.Kind))
}

// digest writes a condition on a digest of the file.
func (s *soundness) digest(f event.Field, in string, n int, not string) string {
	some := soundDigests
	if f.ID == event.FieldVerity {
		some = soundSeals
	}
	one := any1(s.r, some)
	switch {
	case n < 3:
		return fmt.Sprintf("%s%s == %q", not, in, one)
	case n < 5:
		return fmt.Sprintf("%s%s in {%q, %q}", not, in, one, any1(s.r, some))
	case n < 7:
		return fmt.Sprintf("%sdata.lists.digests[%s]", not, in)
	case n < 8:
		return fmt.Sprintf("%s != \"\"\n\tnot %s in data.lists.sums", in, in)
	case n < 9:
		return fmt.Sprintf("%s == \"\"", in)
	}
	return fmt.Sprintf("startswith(%s, %q)", in, one[:3])
}

func (s *soundness) anyPath() string {
	if s.r.IntN(3) == 0 {
		return any1(s.r, soundDirs) + any1(s.r, soundWords[:5])
	}
	return any1(s.r, soundPaths)
}

func inOrder(all []string, some []any) []any {
	out := []any{}
	for _, x := range all {
		if slices.Contains(some, any(x)) {
			out = append(out, x)
		}
	}
	return out
}

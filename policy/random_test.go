package policy

import (
	"fmt"
	"math/rand"
	"strings"
)

// author writes random policies over the fields of one hook.
type author struct {
	r       *rand.Rand
	v2      bool     // import rego.v2: and, or, closed not
	helpers []string // boolean helper rules
	valued  []string // rules with a number
	sets    []string // partial sets of strings
	fns     []string // boolean functions of one string
	n       int
}

func oneOf(r *rand.Rand, l ...string) string { return l[r.Intn(len(l))] }

var somePaths = []string{"/bin/sh", "/bin/bash", "/tmp/a", "/usr/bin/nc", "/tmp/d/x.so", "/usr/lib/b.so", "/a"}
var someNames = []string{"bash", "sh", "a", "x.so", "nc", ""}
var someDigests = []string{strings.Repeat("a", 64), strings.Repeat("0", 63) + "f", strings.Repeat("ab", 32)}
var someVerities = []string{"sha256:" + strings.Repeat("a", 64), "sha256:" + strings.Repeat("ab", 32), "sha512:" + strings.Repeat("ab", 64)}
var someDirs = []string{"/tmp/", "/bin/", "/usr/", "/", "/usr/b", "/tmp", "b", ""}

func (g *author) str() string {
	return fmt.Sprintf("%q", oneOf(g.r, append(append([]string{}, somePaths...), someNames...)...))
}

func (g *author) num() string {
	return oneOf(g.r, "0", "1", "33", "999", "1000", "1000.5", "2048", "-1", "9223372036854775808", "1e3")
}

func (g *author) strField() string {
	return "input." + oneOf(g.r, "file.path", "file.path", "file.name", "process.exe.path", "process.exe.name",
		"process.parent.exe.path", "process.parent.exe.name", "process.shell", "process.comm", "process.cgroup.path", "hook", "script")
}

func (g *author) intField() string {
	return "input." + oneOf(g.r, "process.uid", "process.euid", "process.gid", "process.loginuid", "file.uid", "file.mode",
		"file.nlink", "file.age", "process.cgroup.processes", "process.cgroup.forks_per_second", "process.cgroup.execs_per_second", "process.pid", "fork.flags")
}

func (g *author) set() string {
	return oneOf(g.r, fmt.Sprintf("{%s, %s}", g.str(), g.str()), fmt.Sprintf("[%s, %s, %s]", g.str(), g.str(), g.str()),
		"data.lists.paths", "data.lists.obj", "known")
}

func (g *author) flag() (list, name string) {
	switch g.r.Intn(6) {
	case 4:
		return "input.file.identities", oneOf(g.r, "shadow", "hosts", "nobody")
	case 0:
		return "input.open.flags", oneOf(g.r, "write", "read", "create")
	case 1:
		return "input.file.traits", oneOf(g.r, "memory_backed", "setuid", "unlinked", "overlay_upper")
	case 2:
		return "input.process.traits", oneOf(g.r, "container", "own_user_ns")
	case 3:
		return "input.process.stdio", oneOf(g.r, "stdin_socket", "stdout_network")
	}
	return "input.process.caps", oneOf(g.r, "SYS_ADMIN", "CHOWN", "BPF")
}

// flagTest writes a test of a list of flags or of the ancestors.
func (g *author) flagTest() string {
	g.n++
	list, name := g.flag()
	v := fmt.Sprintf("l%d", g.n)
	switch g.r.Intn(13) {
	case 9:
		return fmt.Sprintf("some %s in input.process.ancestors; not %s", v, g.elementTest(v))
	case 10:
		return fmt.Sprintf("every %s in input.process.ancestors { %s }", v, g.elementTest(v))
	case 11:
		return fmt.Sprintf("every %s in input.process.ancestors { %s; %s%s }", v, g.elementTest(v), oneOf(g.r, "", "not "), g.elementTest(v))
	case 12:
		return fmt.Sprintf("every %s in %s { %s in {%q, \"read\", \"CHOWN\"} }", v, list, v, name)
	case 0:
		return fmt.Sprintf("some %s in %s; %s == %q", v, list, v, name)
	case 1:
		return fmt.Sprintf("some %s in %s; %s != %q", v, list, v, name)
	case 2:
		return fmt.Sprintf("some %s in %s; %s in {%q, \"read\", \"CHOWN\"}", v, list, v, name)
	case 3:
		return fmt.Sprintf("count(%s) %s", list, oneOf(g.r, "== 0", "> 0", "!= 0", ">= 1", "< 1", "> 1"))
	case 4:
		return fmt.Sprintf("%s in input.process.ancestors", g.str())
	case 5:
		return fmt.Sprintf("some %s in input.process.ancestors; startswith(%s, %q)", v, v, oneOf(g.r, someDirs...))
	case 6:
		return fmt.Sprintf("some %s in input.process.ancestors; %s in %s", v, v, g.set())
	case 7:
		return fmt.Sprintf("some %s in input.process.ancestors; %s != %s", v, v, g.str())
	}
	return fmt.Sprintf("%q in %s", name, list)
}

// elementTest writes a test of an element of a list of paths.
func (g *author) elementTest(v string) string {
	switch g.r.Intn(5) {
	case 0:
		return fmt.Sprintf("%s == %s", v, g.str())
	case 1:
		return fmt.Sprintf("startswith(%s, %q)", v, oneOf(g.r, someDirs...))
	case 2:
		if len(g.fns) > 0 {
			return fmt.Sprintf("%s(%s)", oneOf(g.r, g.fns...), v)
		}
	}
	return fmt.Sprintf("%s in %s", v, g.set())
}

// digestTest writes a test of a digest of the file.
func (g *author) digestTest() string {
	field, some := "input.file.sha256", someDigests
	if g.r.Intn(2) == 0 {
		field, some = "input.file.verity", someVerities
	}
	one := fmt.Sprintf("%q", oneOf(g.r, append([]string{"", "ABCD"}, some...)...))
	switch g.r.Intn(7) {
	case 0:
		return field + " == " + one
	case 1:
		return field + " != " + one
	case 2:
		return fmt.Sprintf("%s in {%s, %q}", field, one, oneOf(g.r, some...))
	case 3:
		return fmt.Sprintf("data.lists.digests[%s]", field)
	case 4:
		return fmt.Sprintf("data.lists.info[%s].sev > %d", field, g.r.Intn(10))
	case 5:
		return fmt.Sprintf("startswith(%s, %q)", field, oneOf(g.r, "a", "", "ab", "sha256:"))
	}
	return field + " in data.lists.digestlist"
}

// textTest writes a test of arguments or of the environment.
func (g *author) textTest() string {
	g.n++
	v := fmt.Sprintf("t%d", g.n)
	part := oneOf(g.r, "", "-", "--privileged", "a", "/tmp/", "x.so", "b", "=")
	one := oneOf(g.r, "input.args[0]", "input.args[1]", "input.args[2]", "input.env.LD_PRELOAD", `input.env["A"]`, "input.env.B")
	test := oneOf(g.r, "startswith", "endswith", "contains")
	regex := oneOf(g.r, "a", "^/tmp/", "^.$", "so$|^b", "^-+[a-z]+$", "(?i)PRIV", "[^/]{3}", "^[^/]*$", "", "\\bx", "(a|b)*a(a|b){12}$", "é")
	switch g.r.Intn(11) {
	case 7:
		return fmt.Sprintf("some %s in input.args; regex.match(`%s`, %s)", v, regex, v)
	case 8:
		return fmt.Sprintf("regex.match(`%s`, %s)", regex, one)
	case 0:
		return fmt.Sprintf("%s in input.args", g.str())
	case 1:
		return fmt.Sprintf("some %s in input.args; %s(%s, %q)", v, test, v, part)
	case 2:
		return fmt.Sprintf("some %s in input.args; %s in %s", v, v, g.set())
	case 3:
		return fmt.Sprintf("%s %s %s", one, oneOf(g.r, "==", "!="), g.str())
	case 4:
		return fmt.Sprintf("%s(%s, %q)", test, one, part)
	case 5:
		return fmt.Sprintf("%s in %s", one, g.set())
	case 6:
		return one
	case 9:
		return fmt.Sprintf("strings.any_prefix_match(input.args, {%q, \"/bin\"})", part)
	}
	return fmt.Sprintf("object.get(input.env, \"A\", %q) %s %s", oneOf(g.r, "", "a"), oneOf(g.r, "==", "!="), g.str())
}

func (g *author) atom() string {
	cmp := oneOf(g.r, "==", "!=", "<", "<=", ">", ">=")
	switch g.r.Intn(30) {
	case 0, 1:
		return g.strField() + " == " + g.str()
	case 2:
		return g.strField() + " != " + g.str()
	case 3:
		return fmt.Sprintf("startswith(%s, %q)", g.strField(), oneOf(g.r, someDirs...))
	case 4:
		return fmt.Sprintf("endswith(%s, %q)", g.strField(), oneOf(g.r, "sh", "/a", "nc", ".so", "bin/sh", ""))
	case 5:
		return fmt.Sprintf("contains(%s, %q)", g.strField(), oneOf(g.r, "bin", "a", "/"))
	case 6, 7:
		return g.intField() + " " + cmp + " " + g.num()
	case 8:
		return g.strField() + " in " + g.set()
	case 9:
		return fmt.Sprintf("bits.and(%s, %s) %s %s", g.intField(), oneOf(g.r, "1", "2048", "3", "0"), cmp, oneOf(g.r, "0", "1", "2048"))
	case 10:
		return fmt.Sprintf("input.file[%q] == %s", oneOf(g.r, "path", "name"), g.str())
	case 11:
		return g.intField() + " " + cmp + " " + g.intField()
	case 12:
		return fmt.Sprintf("data.lists.obj[%s]", g.strField())
	case 13:
		return fmt.Sprintf("data.lists.info[%s].sev %s %d", g.strField(), cmp, g.r.Intn(10))
	case 14, 15:
		return g.flagTest()
	case 16:
		return fmt.Sprintf("count(input.args) %s %s", cmp, g.num())
	case 24, 25, 26:
		return g.textTest()
	case 27, 28:
		return g.digestTest()
	case 17:
		return fmt.Sprintf("strings.any_prefix_match(%s, data.lists.dirs)", g.strField())
	case 18:
		if len(g.valued) > 0 {
			return oneOf(g.r, g.valued...) + " " + cmp + " " + fmt.Sprint(g.r.Intn(4))
		}
	case 19:
		if len(g.fns) > 0 {
			return fmt.Sprintf("%s(%s)", oneOf(g.r, g.fns...), g.strField())
		}
	case 20:
		if len(g.sets) > 0 {
			return fmt.Sprintf("%q in %s", oneOf(g.r, "a", "b"), oneOf(g.r, g.sets...))
		}
	case 21:
		return fmt.Sprintf("glob.match(%q, [\"/\"], %s)", oneOf(g.r, "/tmp/**", "/bin/*", "**/sh", "/{bin,tmp}/**", "/usr/*/nc"), g.strField())
	case 22:
		return fmt.Sprintf("regex.match(%q, %s)", oneOf(g.r, "^/tmp/", "sh$", "^/bin/(ba)?sh$", "^/usr/.*so$", "b"), g.strField())
	}
	if len(g.helpers) > 0 {
		return oneOf(g.r, g.helpers...)
	}
	return g.strField() + " == " + g.str()
}

func (g *author) stmt() string {
	a := g.atom()
	if strings.HasPrefix(a, "some ") || strings.HasPrefix(a, "every ") {
		return a
	}
	if g.r.Intn(4) == 0 {
		return "not " + a
	}
	if g.v2 && g.r.Intn(4) == 0 {
		if b := g.atom(); !strings.HasPrefix(b, "some ") && !strings.HasPrefix(b, "every ") {
			x := fmt.Sprintf("(%s %s %s)", a, oneOf(g.r, "or", "and"), b)
			if g.r.Intn(3) == 0 {
				return "not " + x
			}
			return x
		}
	}
	return a
}

func (g *author) body() string {
	var l []string
	g.n++
	switch g.r.Intn(7) {
	case 0:
		l = append(l, fmt.Sprintf("some v%d in %s", g.n, oneOf(g.r, "data.lists.dirs", "input.args", "known", "input.process.ancestors")),
			fmt.Sprintf("%s(%s, v%d)", oneOf(g.r, "startswith", "endswith"), g.strField(), g.n))
	case 1:
		l = append(l, fmt.Sprintf("k%d := %s", g.n, g.strField()), fmt.Sprintf("k%d != %s", g.n, g.str()))
	case 2:
		l = append(l, fmt.Sprintf("some f%d in [\"path\", \"name\"]", g.n), fmt.Sprintf("input.file[f%d] == %s", g.n, g.str()))
	case 3:
		l = append(l, fmt.Sprintf("i%d := data.lists.info[%s]", g.n, g.strField()), fmt.Sprintf("i%d.sev > %d", g.n, g.r.Intn(9)))
	case 4:
		l = append(l, fmt.Sprintf("some a%d in input.process.ancestors", g.n), fmt.Sprintf("a%d in %s", g.n, g.set()),
			fmt.Sprintf("not startswith(a%d, %q)", g.n, oneOf(g.r, someDirs...)))
	}
	for i := 1 + g.r.Intn(3); i > 0; i-- {
		l = append(l, g.stmt())
	}
	return "{ " + strings.Join(l, "; ") + " }"
}

// policy writes one module for a hook.
func (g *author) policy(hook string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "package bailiff.%s\n", hook)
	if g.v2 {
		b.WriteString("import rego.v2\n")
	}
	b.WriteString("known := {p | some p in data.lists.paths}\n")
	for i := g.r.Intn(3); i > 0; i-- {
		n := fmt.Sprintf("fn%d", i)
		for j := 1 + g.r.Intn(2); j > 0; j-- {
			fmt.Fprintf(&b, "%s(x) if { %s(x, %q) }\n", n, oneOf(g.r, "startswith", "endswith"), oneOf(g.r, someDirs...))
		}
		if g.r.Intn(2) == 0 {
			fmt.Fprintf(&b, "%s(x) if x in {%s, %s}\n", n, g.str(), g.str())
		}
		g.fns = append(g.fns, n)
	}
	for i := g.r.Intn(4); i > 0; i-- {
		n := fmt.Sprintf("h%d", i)
		if g.r.Intn(4) == 0 {
			fmt.Fprintf(&b, "default %s := %s\n", n, oneOf(g.r, "false", "true"))
		}
		for j := 1 + g.r.Intn(2); j > 0; j-- {
			fmt.Fprintf(&b, "%s if %s\n", n, g.body())
		}
		g.helpers = append(g.helpers, n)
	}
	for i := g.r.Intn(2); i > 0; i-- {
		n := fmt.Sprintf("val%d", i)
		fmt.Fprintf(&b, "%s := 3 if %s else := 2 if %s", n, g.body(), g.body())
		if g.r.Intn(2) == 0 {
			b.WriteString(" else := 1")
		}
		b.WriteString("\n")
		g.valued = append(g.valued, n)
	}
	for i := g.r.Intn(2); i > 0; i-- {
		n := fmt.Sprintf("set%d", i)
		for j := 1 + g.r.Intn(3); j > 0; j-- {
			fmt.Fprintf(&b, "%s contains %q if %s\n", n, oneOf(g.r, "a", "b"), g.body())
		}
		g.sets = append(g.sets, n)
	}
	for i := 1 + g.r.Intn(3); i > 0; i-- {
		fmt.Fprintf(&b, "%s contains %q if %s\n", oneOf(g.r, "deny", "deny", "alert"), fmt.Sprint("r", i), g.body())
	}
	return b.String()
}

const randomData = `{"bailiff": {"identities": {"shadow": ["/etc/shadow", "/etc/gshadow"], "hosts": ["/etc/hosts"]}}, "lists": {"paths": ["/bin/sh", "/tmp/a", "/usr/bin/nc"], "dirs": ["/tmp/", "/bin/", "/usr/b"],
 "obj": {"/bin/sh": true, "bash": true, "/tmp/a": false},
 "digests": {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": true, "abababababababababababababababababababababababababababababababab": true, "sha256:abababababababababababababababababababababababababababababababab": true}, "digestlist": ["sha256:abababababababababababababababababababababababababababababababab", "sha512:abababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababab", "abababababababababababababababababababababababababababababababab", "000000000000000000000000000000000000000000000000000000000000000f", "AB"],
 "info": {"sha512:abababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababababab": {"sev": 4}, "000000000000000000000000000000000000000000000000000000000000000f": {"sev": 6}, "/bin/bash": {"sev": 8}, "sh": {"sev": 2}, "/tmp/a": {"sev": 5}}}}`

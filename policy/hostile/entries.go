package hostile

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
)

func entryCases() []Case {
	file := func(name string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Uname: "package bailiff.exec\n"}
	}
	c := func(name string, list ...tar.Header) Case {
		g := good()
		first := tar.Header{Name: "exec.rego", Typeflag: tar.TypeReg, Uname: g["exec.rego"]}
		return Case{Name: "entry/" + name, Code: "P012", Archive: entries(append([]tar.Header{first}, list...)...)}
	}
	return []Case{
		c("symlink", tar.Header{Name: "data.json", Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"}),
		c("symlink-within", tar.Header{Name: "more.rego", Typeflag: tar.TypeSymlink, Linkname: "exec.rego"}),
		c("symlink-dir", tar.Header{Name: "dir", Typeflag: tar.TypeSymlink, Linkname: "/etc"}),
		c("hard-link", tar.Header{Name: "more.rego", Typeflag: tar.TypeLink, Linkname: "exec.rego"}),
		c("char-device", tar.Header{Name: "data.json", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5}),
		c("block-device", tar.Header{Name: "data.json", Typeflag: tar.TypeBlock, Devmajor: 8}),
		c("fifo", tar.Header{Name: "data.json", Typeflag: tar.TypeFifo}),
		c("twice", file("exec.rego")),
		c("twice-other-form", file("./exec.rego")),
		c("twice-with-slash", file("/exec.rego")),
		c("up", file("../evil.rego")),
		c("up-within", file("a/../evil.rego")),
		c("up-far", file("a/../../../etc/cron.d/evil")),
		c("up-from-root", file("/../evil.rego")),
		c("dots", file("a/./evil.rego")),
		c("two-slashes", file("//etc/evil.rego")),
		c("slashes-within", file("a//evil.rego")),
		c("backslash", file(`..\evil.rego`)),
		c("newline", file("evil\n.rego")),
		c("escape-code", file("\x1b[2Jevil.rego")),
		c("nul", tar.Header{Name: "x", Typeflag: tar.TypeReg, PAXRecords: nil, Linkname: ""}, file("\x7fevil.rego")),
		c("not-utf8", tar.Header{Name: "evil\xff\xfe.rego", Typeflag: tar.TypeReg, Format: tar.FormatGNU}),
		c("long-name", file(strings.Repeat("n", 700)+".rego")),
		c("long-path", file(strings.Repeat("d/", 300)+"evil.rego")),
		c("deep", file(strings.Repeat("d/", 40)+"evil.rego")),
		c("file-then-below", file("a"), file("a/evil.rego")),
		c("below-then-file", file("a/evil.rego"), file("a")),
		c("dir-then-file", tar.Header{Name: "a/", Typeflag: tar.TypeDir}, file("a")),
		c("file-is-root", file(".")),
	}
}

// zeros is a tar.gz archive with files of zero bytes, made without holding them.
func zeros(names []string, size int64) []byte {
	var b bytes.Buffer
	zw := gzip.NewWriter(&b)
	tw := tar.NewWriter(zw)
	for _, name := range names {
		must(tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: size, Typeflag: tar.TypeReg}))
		_, err := io.CopyN(tw, zeroReader{}, size)
		must(err)
	}
	must(tw.Close())
	must(zw.Close())
	return b.Bytes()
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// bombCases are larger than they look, or larger than anybody needs.
func bombCases() []Case {
	c := func(name string, b []byte) Case { return Case{Name: "bomb/" + name, Code: "P013", Archive: b} }
	f := func(name string, files Files) Case { return c(name, files.Pack()) }
	many := good()
	for i := range 10_001 {
		many[fmt.Sprintf("d%d/README", i)] = "x"
	}
	var dirs []tar.Header
	for i := range 10_100 {
		dirs = append(dirs, tar.Header{Name: fmt.Sprintf("d%d/", i), Typeflag: tar.TypeDir})
	}
	rules := func(body string) Files {
		return good().With("more.rego", "package bailiff.exec\n\ndeny contains \"x\" if "+body+"\n")
	}
	nest := func(open, inner, closing string, n int) string {
		return strings.Repeat(open, n) + inner + strings.Repeat(closing, n)
	}
	var lots strings.Builder
	lots.WriteString("package bailiff.exec\n")
	for i := range 10_001 {
		fmt.Fprintf(&lots, "deny contains %d if input.process.pid == %d\n", i, i)
	}
	return []Case{
		c("one-file", zeros([]string{"data.json"}, 65<<20)),
		c("readme", zeros([]string{"README"}, 65<<20)),
		c("all-files", zeros([]string{"a", "b", "c", "d", "e"}, 60<<20)),
		c("rego-file", zeros([]string{"exec.rego"}, 2<<20)),
		f("entries", many),
		c("directories", entries(dirs...)),
		f("comment", good().With("more.rego", "package bailiff.exec\n#"+strings.Repeat("x", 2<<20))),
		f("rules", good().With("more.rego", lots.String())),
		f("parentheses", rules(nest("(", "1 == 1", ")", 50_000))),
		f("parentheses-just", rules(nest("(", "1 == 1", ")", 65))),
		f("arrays", rules("x := "+nest("[", "1", "]", 50_000))),
		f("objects", rules("x := "+nest(`{"a":`, "1", "}", 50_000))),
		f("sets", rules("x := "+nest("{", "1", "}", 10_000))),
		f("calls", rules("x := "+nest("abs(", "1", ")", 10_000))),
		f("comprehensions", rules("x := "+nest("[1 | y := ", "1", "]", 1_000))),
		f("references", rules("x := "+nest("data[", "1", "]", 10_000))),
		f("open-brackets", rules(strings.Repeat("[", 500_000))),
		f("json-arrays", good().With("data.json", nest("[", "", "]", 500_000))),
		f("json-objects", good().With("data.json", nest(`{"a":`, "1", "}", 100_000))),
		f("json-never-closed", good().With("data.json", `{"programs": `+strings.Repeat("[", 100_000))),
		f("yaml-flow", good().With("more/data.yaml", nest("[", "", "]", 100_000))),
		f("yaml-indent", good().With("more/data.yaml", indented(500))),
		f("digits-json", good().With("data.json", `{"n": 1`+strings.Repeat("0", 500_000)+"}")),
		f("digits-rego", rules("input.process.pid == 1"+strings.Repeat("0", 500_000))),
		f("exponent-json", good().With("data.json", `{"n": 1e999999999}`)),
		f("exponent-negative", good().With("data.json", `{"n": 1e-999999999}`)),
		f("exponent-rego", rules("input.process.pid < 1e999999999")),
		f("digits-manifest", good().With(".manifest", `{"revision": "r", "metadata": {"n": 1`+strings.Repeat("0", 1000)+"}}")),
		f("nested-manifest", good().With(".manifest", `{"revision": "r", "metadata": {"n": `+nest("[", "", "]", 1000)+"}}")),
		{Name: "bomb/operators", Code: "P018", Archive: rules("input.process.pid == 1" + strings.Repeat(" + 1", 60_000)).Pack()},
		{Name: "bomb/slow", Code: "P018", Archive: rules("input.process.pid == 1" + strings.Repeat(" + 1", 40_000)).Pack()},
		{Name: "bomb/doubling", Code: "P018", Archive: rules(doubling(60)).Pack()},
	}
}

func indented(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%sa:\n", strings.Repeat(" ", i))
	}
	return b.String()
}

// doubling makes a string of 2^n bytes in a rule that reads no input: whoever
// evaluates it at load time runs out of memory, or of time.
func doubling(n int) string {
	var b strings.Builder
	b.WriteString("{\n\tx0 := \"a\"\n")
	for i := range n {
		fmt.Fprintf(&b, "\tx%d := concat(\"\", [x%d, x%d])\n", i+1, i, i)
	}
	fmt.Fprintf(&b, "\tinput.process.comm == x%d\n}", n)
	return b.String()
}

package given

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
)

func head(s string) []byte {
	b := make([]byte, headSize)
	copy(b, s)
	return b
}

func TestParseHead(t *testing.T) {
	long := "#!/" + strings.Repeat("x", 300)
	for _, c := range []struct {
		text string
		want string // words, joined; "-" no script, "!" the kernel refuses
	}{
		{"\x7fELF", "-"}, {"#", "-"}, {"", "-"},
		{"#!/bin/sh\n", "/bin/sh"}, {"#! \t/bin/sh \t \necho", "/bin/sh"},
		{"#!/bin/sh -e -x \n", "/bin/sh|-e -x"}, {"#!/bin/sh\t\t-e\n", "/bin/sh|-e"},
		{"#!/bin/sh", "/bin/sh"}, {"#!/bin/sh -e ", "/bin/sh|-e "}, {"#!/bin/sh ", "/bin/sh|"},
		{"#!/bin/sh\x00 -e\n", "/bin/sh"}, {"#!/bin/sh -e\x00x\n", "/bin/sh|-e"},
		{"#!\n", "!"}, {"#!  \t\n", "!"}, {"#!" + strings.Repeat(" ", 300), "!"}, {"#!\x00\n", "!"},
		{long, "!"}, {"#!/a " + long, "/a|" + long[:headSize-6]},
	} {
		words, err := parseHead(head(c.text))
		got := string(bytes.Join(words, []byte("|")))
		switch {
		case err != nil:
			got = "!"
		case words == nil:
			got = "-"
		}
		if got != c.want {
			t.Errorf("%.20q: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestParseCall(t *testing.T) {
	const regs = " 0xffffff05 0x7fff00000001 0x7fff00000002 0x7fff00000003 0x0 0x0 0x7ffe 0x7f00"
	for _, c := range []struct {
		arch, line string
		want       call
		bad        bool
	}{
		{arch: "amd64", line: "59 0x1 0x2 0x3 0x0 0x0 0x0 0x7ffe 0x7f00", want: call{word: 8, dir: atCwd, path: 1, argv: 2, envp: 3}},
		{arch: "amd64", line: "322" + regs, want: call{word: 8, at: true, dir: -251, path: 0x7fff00000001, argv: 0x7fff00000002, envp: 0x7fff00000003}},
		{arch: "arm64", line: "281" + regs, want: call{word: 8, at: true, dir: -251, path: 0x7fff00000001, argv: 0x7fff00000002, envp: 0x7fff00000003}},
		{arch: "amd64", line: "11 0xffffffff00000001 0x2 0x3 0x0 0x0 0x0 0x7ffe 0x7f00", want: call{word: 4, dir: atCwd, path: 1, argv: 2, envp: 3}},
		{arch: "amd64", line: "257" + regs, bad: true},
		{arch: "riscv64", line: "59" + regs, bad: true},
		{arch: "amd64", line: "running", bad: true},
		{arch: "amd64", line: "-1 0x7ffe 0x7f00", bad: true},
		{arch: "amd64", line: "59 0x1 0x2 x 0x0 0x0 0x0 0x7ffe 0x7f00", bad: true},
	} {
		got, err := parseCall(c.arch, c.line)
		if got != c.want || (err != nil) != c.bad || c.bad && !errors.Is(err, ErrCall) {
			t.Errorf("%s %q: %+v (%v), want %+v", c.arch, c.line, got, err, c.want)
		}
	}
}

// TestScripts: what a chain of scripts is given, with what the thread has in its memory
// and its descriptors read from this one.
func TestScripts(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) *os.File {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	binary, loader := write("binary", "\x7fELF"), write("loader", "\x7fELF")
	inner := write("inner", "#!DIR/binary\n")
	outer := write("outer", "#!DIR/inner -x y\n")
	list := newList(t, "zero", "one", "")
	want := func(f *os.File, c call, want string) event.Given {
		t.Helper()
		given, err := c.args(f, &memory{tid: os.Getpid(), word: 8, pages: map[uint64][]byte{}})
		t.Cleanup(given.Close)
		if script := given.Script != nil; err == nil && script != strings.HasPrefix(want, "DIR/") {
			t.Errorf("%s: of a script: %v", f.Name(), script)
		}
		got := strings.ReplaceAll(strings.ReplaceAll(string(given.Args), "\x00", "|"), dir, "DIR")
		if err != nil && want == "!" {
			return given
		}
		if err != nil || got != want {
			t.Errorf("%s: %q (%v), want %q", f.Name(), got, err, want)
		}
		return given
	}
	call := func(path string) call { return call{word: 8, dir: atCwd, path: list.text(path), argv: list.at} }
	want(binary, call(dir+"/binary"), "zero|one||")
	want(loader, call(dir+"/binary"), "zero|one||")
	of := call(dir + "/outer")
	first := want(outer, of, "DIR/inner|-x y|DIR/outer|one||")
	second := want(inner, of, "DIR/binary|DIR/inner|-x y|DIR/outer|one||")
	third := want(binary, of, "DIR/binary|DIR/inner|-x y|DIR/outer|one||")
	if !bytes.Equal(first.Origin, second.Origin) || !bytes.Equal(first.Origin, third.Origin) || string(first.Origin) != dir+"/outer\x00zero\x00one\x00\x00" {
		t.Errorf("made of %q, %q, %q", first.Origin, second.Origin, third.Origin)
	}
	none := call(dir + "/binary")
	none.argv = 0
	want(binary, none, "|")

	here, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	at := call("inner")
	at.at, at.dir = true, int32(here.Fd())
	want(inner, at, fmt.Sprintf("DIR/binary|/dev/fd/%d/inner|one||", here.Fd()))
	at.dir, at.path = int32(inner.Fd()), list.text("")
	want(binary, at, fmt.Sprintf("DIR/binary|/dev/fd/%d|one||", inner.Fd()))
	t.Chdir(dir)
	want(inner, call("./inner"), "DIR/binary|./inner|one||")
	want(inner, call("nowhere"), "!")
	write("loop", "#!DIR/loop\n")
	want(inner, call("./loop"), "!")

	if _, err := (&memory{tid: os.Getpid(), word: 8, pages: map[uint64][]byte{}}).list(list.text("x")); err == nil {
		t.Error("a list that leads nowhere is one")
	}
	large := newList(t, strings.Repeat("x", Most))
	if _, err := (&memory{tid: os.Getpid(), word: 8, pages: map[uint64][]byte{}}).list(large.at); !errors.Is(err, ErrLarge) {
		t.Errorf("too much: %v", err)
	}
	runtime.KeepAlive(list)
	runtime.KeepAlive(large)
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte("#!/bin/sh -e\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		words, _ := parseHead(head(string(b)))
		if len(words) > 2 || len(words) > 0 && len(words[0]) == 0 {
			t.Errorf("%q", words)
		}
		for _, w := range words {
			if bytes.IndexByte(w, 0) >= 0 {
				t.Errorf("%q", words)
			}
		}
	})
}

func FuzzParseCall(f *testing.F) {
	f.Add("59 0x1 0x2 0x3 0x0 0x0 0x0 0x7ffe 0x7f00")
	f.Fuzz(func(t *testing.T, line string) {
		if c, err := parseCall("amd64", line); err == nil && c.word == 0 {
			t.Errorf("%q: %+v", line, c)
		}
	})
}

package given

import (
	"bytes"
	"errors"
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
		if !c.bad {
			c.want.line = c.line
		}
		if got != c.want || (err != nil) != c.bad || c.bad && !errors.Is(err, ErrCall) {
			t.Errorf("%s %q: %+v (%v), want %+v", c.arch, c.line, got, err, c.want)
		}
	}
}

// TestScripts: what a chain of scripts is given, with what the thread has in its memory
// read from this one.
func TestScripts(t *testing.T) {
	r := New()
	open := func(name, text string) *os.File {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	outer, inner, binary := open("outer", "#!/in/ner -x y\n"), open("inner", "#!/bin/ary\n"), open("binary", "\x7fELF")
	list := newList(t, "outer", "one", "")
	c := call{line: "a", word: 8, dir: atCwd, path: list.text("./outer"), argv: list.at}
	var before []byte
	want := func(f *os.File, tid int32, image event.ExecID, c call, want string) {
		t.Helper()
		given, err := r.args(f, tid, image, c, &memory{tid: os.Getpid(), word: 8, pages: map[uint64][]byte{}})
		if got := strings.ReplaceAll(string(given.Args), "\x00", "|"); err != nil || got != want {
			t.Errorf("%q (%v), want %q", got, err, want)
		}
		if !bytes.Equal(given.Before, before) {
			t.Errorf("%q was before %q, want %q", given.Before, given.Args, before)
		}
		before = nil
		if f != binary {
			before = given.Args // for the next file of the call
		}
	}
	want(binary, 1, 7, c, "outer|one||")
	want(outer, 1, 7, c, "/in/ner|-x y|./outer|one||")
	want(inner, 1, 7, c, "/bin/ary|/in/ner|-x y|./outer|one||")
	want(binary, 1, 7, c, "/bin/ary|/in/ner|-x y|./outer|one||")
	before = nil
	want(outer, 1, 7, c, "/in/ner|-x y|./outer|one||") // the call is tried again
	before = nil
	want(binary, 1, 8, c, "outer|one||") // another image of that process
	want(binary, 2, 7, c, "outer|one||")
	c.line = "b" // another call
	want(binary, 1, 7, c, "outer|one||")
	none := c
	none.argv = 0
	want(binary, 1, 7, none, "|")
	at := c
	at.at, at.dir, at.path = true, 5, list.text("")
	want(outer, 3, 7, at, "/in/ner|-x y|/dev/fd/5|one||")
	at.path = list.text("o")
	before = nil
	want(outer, 4, 7, at, "/in/ner|-x y|/dev/fd/5/o|one||")

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

package given

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// headSize is how much of a file the kernel looks at (BINPRM_BUF_SIZE).
const headSize = 256

// maxScripts bounds threads that are known to be on their way.
const maxScripts = 1024

// script is a thread between a script and its interpreter: the same call opens both.
type script struct {
	line        string // of its call
	image       event.ExecID
	first, last file // of the scripts of this call
	interpreter string
	args        [][]byte
}

type file struct{ dev, ino uint64 }

// args returns the arguments as the image of a file gets them.
func (r *Reader) args(f *os.File, tid int32, image event.ExecID, c call, m *memory) (t event.Given, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return t, err
	}
	this := file{st.Dev, st.Ino}
	name, args, first, err := r.before(this, tid, image, c, m)
	if err != nil {
		return t, err
	}
	if first != this {
		if t.Before, err = block(args); err != nil {
			return t, err
		}
	}
	head := make([]byte, headSize)
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return t, err
	}
	words, err := parseHead(head)
	if err != nil {
		return t, err
	}
	if words != nil {
		args = slices.Concat(words, [][]byte{[]byte(name)}, args[1:])
		r.note(tid, &script{line: c.line, image: image, first: first, last: this, interpreter: string(words[0]), args: args})
	}
	t.Args, err = block(args)
	return t, err
}

// before returns what a file is called and what it is given, before it is looked at
// itself: by the caller, or by the script whose interpreter it is; and the first file
// of the call.
func (r *Reader) before(this file, tid int32, image event.ExecID, c call, m *memory) (name string, args [][]byte, first file, err error) {
	r.mu.Lock()
	s := r.scripts[tid]
	r.mu.Unlock()
	if s != nil && s.line == c.line && s.image == image && s.last != this && s.first != this {
		return s.interpreter, s.args, s.first, nil
	}
	if name, err = c.name(m); err != nil {
		return "", nil, this, err
	}
	if args, err = m.list(c.argv); err != nil {
		return "", nil, this, err
	}
	if len(args) == 0 {
		args = [][]byte{{}} // the kernel sees to it that there is one
	}
	return name, args, this, nil
}

func (r *Reader) note(tid int32, s *script) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.scripts) >= maxScripts {
		clear(r.scripts) // who is asked about next looks like a first file: what it is given will differ
	}
	r.scripts[tid] = s
}

// parseHead reads the first line of a script as the kernel does (binfmt_script), out of
// headSize bytes, filled up with NUL: the interpreter and at most one argument; nil if
// the file is no script. What the kernel refuses to execute is an error.
func parseHead(head []byte) (words [][]byte, err error) {
	if !bytes.HasPrefix(head, []byte("#!")) {
		return nil, nil
	}
	end := bytes.IndexByte(head, '\n')
	if end < 0 {
		end = len(head) - 1
		if name := bytes.TrimLeft(head[2:end], " \t"); len(name) == 0 || !bytes.ContainsAny(name, " \t\x00") && !bytes.ContainsAny(head[end:], " \t\x00") {
			return nil, fmt.Errorf("%w: the first line of the script is cut", ErrCall)
		}
	}
	line := bytes.TrimLeft(bytes.TrimRight(head[2:end], " \t"), " \t")
	at := bytes.IndexAny(line, " \t\x00")
	switch {
	case len(line) == 0 || at == 0:
		return nil, fmt.Errorf("%w: a script without an interpreter", ErrCall)
	case at < 0:
		return [][]byte{line}, nil
	case line[at] == 0:
		return [][]byte{line[:at]}, nil
	}
	arg, _, _ := bytes.Cut(bytes.TrimLeft(line[at:], " \t"), []byte{0})
	return [][]byte{line[:at], arg}, nil
}

package given

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

const (
	// headSize is how much of a file the kernel looks at (BINPRM_BUF_SIZE).
	headSize = 256
	// maxScripts is how many scripts in a row the kernel executes, and one more.
	maxScripts = 6
)

// args returns the arguments as the image gets them at the time when the kernel opens
// this file: the one that the call names, the interpreter of a script, or the loader of
// a program.
func (c *call) args(f *os.File, m *memory) (t event.Given, err error) {
	this, err := fileOf(f)
	if err != nil {
		return t, err
	}
	name, err := c.name(m)
	if err != nil {
		return t, err
	}
	args, err := m.list(c.argv)
	if err != nil {
		return t, err
	}
	if len(args) == 0 {
		args = [][]byte{{}} // the kernel sees to it that there is one
	}
	if t.Origin, err = block(append([][]byte{[]byte(name)}, args...)); err != nil {
		return t, err
	}
	at, path, opened := c.place(m)
	if opened != nil {
		return t, opened
	}
	for i := range maxScripts {
		next, err := openAt(m.tid, at, path)
		if err != nil {
			return t, err
		}
		words, is, err := next.head(this)
		if i == 0 && words != nil {
			t.Script = next.File
		} else {
			next.Close()
		}
		if err != nil {
			return t, err
		}
		if words != nil {
			args = slices.Concat(words, [][]byte{[]byte(name)}, args[1:])
			name = string(words[0])
			at, path = atCwd, name
		}
		if is || words == nil { // or this is the loader of a program
			t.Args, err = block(args)
			return t, err
		}
	}
	return t, fmt.Errorf("%w: too many scripts", ErrCall)
}

type file struct{ dev, ino uint64 }

func fileOf(f *os.File) (file, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return file{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return file{}, fmt.Errorf("%w: it is no regular file", ErrCall)
	}
	return file{st.Dev, st.Ino}, nil
}

// place returns where the file is that the call names: a path from a descriptor of the
// thread, or from its working directory.
func (c *call) place(m *memory) (at int32, path string, err error) {
	text, err := m.text(c.path)
	return c.dir, string(text), err
}

// found is a file that is not open for reading.
type found struct{ *os.File }

// openAt finds a file as thread tid would.
func openAt(tid int, at int32, path string) (found, error) {
	proc := "/proc/" + strconv.Itoa(tid)
	from := proc + "/cwd"
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC}
	switch {
	case strings.HasPrefix(path, "/"):
		from, how.Resolve = proc+"/root", unix.RESOLVE_IN_ROOT
	case at != atCwd:
		from = proc + "/fd/" + strconv.Itoa(int(at))
	}
	if path == "" { // the descriptor itself
		fd, err := unix.Open(from, unix.O_PATH|unix.O_CLOEXEC, 0)
		return found{os.NewFile(uintptr(fd), from)}, err
	}
	dir, err := unix.Open(from, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return found{}, err
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, path, &how)
	if err != nil {
		return found{}, err
	}
	return found{os.NewFile(uintptr(fd), path)}, nil
}

// head returns the first line of a script, nil of a file that is none, and whether the
// file is this one.
func (f found) head(this file) (words [][]byte, is bool, err error) {
	id, err := fileOf(f.File)
	if err != nil {
		return nil, false, err
	}
	r, err := os.Open("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		return nil, false, err
	}
	defer r.Close()
	head := make([]byte, headSize)
	if _, err := r.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, false, err
	}
	words, err = parseHead(head)
	return words, id == this, err
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

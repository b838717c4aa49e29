package guest

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
)

// archive writes the "newc" cpio format that the kernel unpacks as its first
// root filesystem: a header of hexadecimal fields, the name, the content, each
// padded to four bytes.
type archive struct {
	w    io.Writer
	pos  int64
	ino  int
	dirs map[string]bool
	err  error
}

func newArchive(w io.Writer) *archive {
	return &archive{w: w, dirs: map[string]bool{".": true, "/": true}}
}

func (a *archive) write(b []byte) {
	if a.err != nil {
		return
	}
	n, err := a.w.Write(b)
	a.pos, a.err = a.pos+int64(n), err
}

func (a *archive) pad() {
	if n := a.pos % 4; n != 0 {
		a.write(make([]byte, 4-n))
	}
}

// header starts an entry. mode is st_mode; size is that of the content.
func (a *archive) header(name string, mode uint32, size int64) { a.owned(name, mode, 0, 0, size) }

// owned is header for what does not belong to root.
func (a *archive) owned(name string, mode, uid, gid uint32, size int64) {
	a.ino++
	a.write(fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		a.ino, mode, uid, gid, 1, 0, size, 0, 0, 0, 0, len(name)+1, 0))
	a.write(append([]byte(name), 0))
	a.pad()
}

// dir adds a directory and those above it.
func (a *archive) dir(name string) {
	name = strings.TrimPrefix(path.Clean(name), "/")
	if a.dirs[name] || name == "" {
		return
	}
	a.dir(path.Dir(name))
	a.dirs[name] = true
	a.header(name, 0o040755, 0)
}

// data adds a regular file.
func (a *archive) data(name string, perm fs.FileMode, b []byte) {
	a.dir(path.Dir(name))
	a.header(strings.TrimPrefix(name, "/"), 0o100000|uint32(perm.Perm()), int64(len(b)))
	a.write(b)
	a.pad()
}

// files adds host files, by guest path, with their permissions.
func (a *archive) files(host map[string]string) error {
	names := make([]string, 0, len(host))
	for n := range host {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		st, err := os.Stat(host[n])
		if err != nil {
			return err
		}
		b, err := os.ReadFile(host[n])
		if err != nil {
			return err
		}
		a.data(n, st.Mode(), b)
	}
	return a.err
}

// finish writes the end mark.
func (a *archive) finish() error {
	a.header("TRAILER!!!", 0, 0)
	return a.err
}

package policy

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// entry is one regular file of a bundle.
type entry struct {
	path string // within the bundle: clean, with slashes, not absolute
	data []byte
}

// contents collects the files of a bundle and holds them to the limits. What is
// read is never written to disk under a name from the bundle.
type contents struct {
	limits  Limits
	entries []entry
	names   map[string]bool // path -> it is a directory
	total   int64
	count   int
}

func newContents(l Limits) *contents {
	return &contents{limits: l.withDefaults(), names: map[string]bool{}}
}

const hintOPABuild = "make the archive with `opa build -b DIR`, or `tar -czf bundle.tar.gz -C DIR .`"

// damaged says that an archive cannot be read on, at the file where that was.
func damaged(at string, err error) error {
	why := err.Error()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		why = "it ends too early"
	case errors.Is(err, gzip.ErrChecksum):
		why = "its checksum is wrong"
	}
	return Errors{{Code: CodeArchive, File: at, Why: "the archive is damaged: " + why, Hint: "fetch or build it again: " + hintOPABuild}}
}

// unpack reads a tar.gz archive.
func unpack(r io.Reader, l Limits) (*contents, error) {
	c := newContents(l)
	packed := &capped{r: r, left: c.limits.ArchiveBytes, limit: c.limits.ArchiveBytes, what: "the archive"}
	buffered := bufio.NewReader(packed)
	if magic, _ := buffered.Peek(2); !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if len(magic) == 0 {
			return nil, Errors{{Code: CodeArchive, Why: "the archive is empty", Hint: hintOPABuild}}
		}
		return nil, Errors{{Code: CodeArchive, Why: "it is not a gzip file", Hint: hintOPABuild}}
	}
	zr, err := gzip.NewReader(buffered)
	if err != nil {
		return nil, damaged("", err)
	}
	// Headers and padding count too: a bomb may be made of them alone.
	plain := &capped{r: zr, left: c.limits.TotalBytes + int64(c.limits.Entries)*4096, limit: c.limits.TotalBytes, what: "the unpacked archive"}
	end := &tail{r: plain}
	tr := tar.NewReader(end)
	last := ""
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, asLimit(err, last)
		}
		last = printable(h.Name)
		if err := c.header(h, tr); err != nil {
			return nil, err
		}
	}
	// The checksum stands at the end, and nothing else may stand there.
	rest := make([]byte, 32<<10)
	for {
		n, err := end.Read(rest)
		if len(bytes.Trim(rest[:n], "\x00")) > 0 {
			return nil, Errors{{Code: CodeArchive, Why: "there is something behind the end of the archive", Hint: hintOPABuild}}
		}
		if errors.Is(err, io.EOF) {
			if len(bytes.Trim(end.last, "\x00")) > 0 || len(end.last) < blockSize {
				return nil, damaged(last, io.ErrUnexpectedEOF)
			}
			return c, nil
		}
		if err != nil {
			return nil, asLimit(err, last)
		}
	}
}

func (c *contents) header(h *tar.Header, tr io.Reader) error {
	switch h.Typeflag {
	case tar.TypeXGlobalHeader: // `git archive` writes one
		return nil
	case tar.TypeDir:
		_, err := c.name(h.Name, true)
		return err
	case tar.TypeReg:
	case tar.TypeSymlink, tar.TypeLink:
		return Errors{{Code: CodeArchive, File: printable(h.Name), Why: "it is a link to " + printable(h.Linkname), Hint: "a bundle holds regular files only: put the file itself there"}}
	default:
		return Errors{{Code: CodeArchive, File: printable(h.Name), Why: "it is neither a file nor a directory", Hint: "a bundle holds regular files only"}}
	}
	name, err := c.name(h.Name, false)
	if err != nil {
		return err
	}
	return c.add(name, h.Size, tr)
}

// name checks a path and takes note of it.
func (c *contents) name(raw string, dir bool) (string, error) {
	if c.count++; c.count > c.limits.Entries {
		return "", Errors{{Code: CodeLimit, File: printable(raw), Why: fmt.Sprintf("the bundle has more than %d entries", c.limits.Entries), Hint: "put data into fewer files"}}
	}
	bad := func(why string) (string, error) {
		return "", Errors{{Code: CodeArchive, File: printable(raw), Why: why, Hint: "name files by plain paths within the bundle, such as exec/rules.rego; opa build keeps the .. of opa build -b ../DIR: run it in the directory itself, opa build -b ."}}
	}
	if len(raw) > maxName {
		return bad(fmt.Sprintf("a path is longer than %d bytes", maxName))
	}
	if !utf8.ValidString(raw) || strings.ContainsFunc(raw, unicode.IsControl) || strings.ContainsRune(raw, '\\') {
		return bad("a path has characters that are not for paths")
	}
	// OPA's own writer begins paths with a slash: the root of the bundle.
	p := strings.TrimPrefix(strings.TrimSuffix(raw, "/"), "/")
	p = strings.TrimPrefix(p, "./")
	if p == "" || p == "." {
		if dir {
			return ".", nil
		}
		return bad("a file has no name")
	}
	if p != path.Clean(p) || p == ".." || strings.HasPrefix(p, "../") || strings.HasPrefix(p, "/") {
		return bad("a path leads out of the bundle, or is not written plainly")
	}
	if strings.Count(p, "/") > maxDirs {
		return bad(fmt.Sprintf("a path is more than %d directories deep", maxDirs))
	}
	if was, seen := c.names[p]; seen && !(was && dir) {
		return bad("the path is there twice")
	}
	for up := path.Dir(p); up != "."; up = path.Dir(up) {
		if isDir, seen := c.names[up]; seen && !isDir {
			return bad("a file has the name of a directory: " + up)
		}
		if c.names[up] {
			break
		}
		c.names[up] = true
	}
	c.names[p] = dir
	return p, nil
}

// add reads one file.
func (c *contents) add(name string, size int64, r io.Reader) error {
	limit := c.limits.FileBytes
	if strings.HasSuffix(name, ".rego") {
		limit = min(limit, c.limits.RegoBytes)
	}
	tooBig := func(what string, limit int64) error {
		return Errors{{Code: CodeLimit, File: name, Why: fmt.Sprintf("%s has more than %s", what, sizeText(limit)), Hint: "split it, or raise the limits of the policy in the configuration of the agent"}}
	}
	if size > limit {
		return tooBig("the file", limit)
	}
	if c.total+size > c.limits.TotalBytes {
		return tooBig("the bundle, unpacked,", c.limits.TotalBytes)
	}
	// The size in a header is only a claim: memory is taken as data comes.
	var buf bytes.Buffer
	buf.Grow(int(min(size, 1<<20)))
	n, err := io.Copy(&buf, io.LimitReader(r, limit+1))
	if err != nil {
		return asLimit(err, name)
	}
	if n > limit {
		return tooBig("the file", limit)
	}
	if c.total += n; c.total > c.limits.TotalBytes {
		return tooBig("the bundle, unpacked,", c.limits.TotalBytes)
	}
	c.entries = append(c.entries, entry{name, buf.Bytes()})
	return nil
}

// blockSize is the unit of a tar archive, in bytes; it ends with blocks of zeros.
const blockSize = 512

// tail remembers the last block that was read: an archive that was cut between
// two files is none that the reader of the standard library complains about.
type tail struct {
	r    io.Reader
	last []byte
}

func (t *tail) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.last = append(t.last, p[:n]...)
	if over := len(t.last) - blockSize; over > 0 {
		t.last = append(t.last[:0], t.last[over:]...)
	}
	return n, err
}

// capped is a reader that ends with an error when too much comes.
type capped struct {
	r           io.Reader
	left, limit int64
	what        string
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left < 0 {
		return 0, &Error{Code: CodeLimit, Why: fmt.Sprintf("%s has more than %s", c.what, sizeText(c.limit)),
			Hint: "leave out what is not needed, or raise the limits of the policy in the configuration of the agent"}
	}
	if int64(len(p)) > c.left+1 {
		p = p[:c.left+1]
	}
	n, err := c.r.Read(p)
	c.left -= int64(n)
	if c.left < 0 {
		n += int(c.left) // not one byte more than the limit is handed on
		err = nil
	}
	return n, err
}

// asLimit tells a limit from damage.
func asLimit(err error, at string) error {
	var list Errors
	var one *Error
	switch {
	case errors.As(err, &list):
		return list
	case errors.As(err, &one):
		cp := *one
		cp.File = at
		return Errors{&cp}
	}
	return damaged(at, err)
}

func sizeText(n int64) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}

// printable makes a name from an archive fit for a message.
func printable(s string) string {
	if len(s) > 128 {
		s = s[:128] + "..."
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}

package policy

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
)

// walkDir reads a directory. Links are followed as long as they stay within
// it, as those of mounted config maps do; a link that leads out is refused.
func walkDir(dir string, l Limits, all bool) (*contents, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, readError("open bundle", err)
	}
	defer root.Close()
	return walkFS(root.FS(), l, all)
}

// walkFS reads the files of a file system. Hidden directories (version
// control) are left out unless all is set: a signature covers them too.
func walkFS(fsys fs.FS, l Limits, all bool) (*contents, error) {
	c := newContents(l)
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return readError("list bundle", err)
		}
		if p == "." {
			return nil
		}
		if d.IsDir() {
			if !all && strings.HasPrefix(path.Base(p), ".") {
				return fs.SkipDir
			}
			_, err := c.name(p, true)
			return err
		}
		return c.file(fsys, p)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (c *contents) file(fsys fs.FS, p string) error {
	info, err := fs.Stat(fsys, p)
	if err != nil {
		return Errors{{Code: CodeRead, File: printable(p), Why: fmt.Sprintf("read bundle: %v", errors.Unwrap(err)), Hint: "a link must lead to a file within the bundle"}}
	}
	if info.IsDir() { // by a link: its files come under their own names
		return nil
	}
	if !info.Mode().IsRegular() {
		return Errors{{Code: CodeArchive, File: printable(p), Why: "it is neither a file nor a directory", Hint: "a bundle holds regular files only"}}
	}
	name, err := c.name(p, false)
	if err != nil {
		return err
	}
	fh, err := fsys.Open(p)
	if err != nil {
		return readError("read bundle", err)
	}
	defer fh.Close()
	return c.add(name, info.Size(), fh)
}

func readError(what string, err error) error {
	return Errors{{Code: CodeRead, Why: fmt.Sprintf("%s: %v", what, err), Hint: "name a directory or a .tar.gz file"}}
}

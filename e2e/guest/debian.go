package guest

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// Debian is a root filesystem with systemd, made of packages.
type Debian struct {
	Suite    string   // "bookworm"
	Packages []string // besides the essential ones and apt
}

// ErrNoDebian is the reason for a machine that cannot have such a filesystem.
var ErrNoDebian = errors.New("no Debian root: neither cached nor to be made with mmdebstrap (Debian package mmdebstrap, as root)")

// debianForm changes when what is cached for the same packages must change.
const debianForm = "1"

// Root returns an archive that Machine.Root takes. It is made with mmdebstrap
// if it is not in the cache; what is cached is not brought up to date.
func (d Debian) Root(ctx context.Context) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	sum := sha256.Sum256([]byte(debianForm + " " + d.Suite + " " + strings.Join(d.Packages, " ")))
	name := filepath.Join(base, "bailiff", "debian", hex.EncodeToString(sum[:8])+".cpio")
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	if err := d.make(ctx, name); err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoDebian, err)
	}
	return name, nil
}

// make writes the archive aside and renames it, so that half of one is never used.
func (d Debian) make(ctx context.Context, name string) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := os.CreateTemp(filepath.Dir(name), "make-")
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, out.Close())
		if err != nil {
			_ = os.Remove(out.Name())
		}
	}()
	cmd := exec.CommandContext(ctx, "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=tar",
		"--include="+strings.Join(d.Packages, ","),
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		d.Suite, "-")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	buf := bufio.NewWriterSize(out, 1<<20)
	convErr := tarToCpio(buf, pipe)
	if _, err := io.Copy(io.Discard, pipe); err != nil {
		convErr = errors.Join(convErr, err)
	}
	if err := errors.Join(cmd.Wait(), convErr, buf.Flush()); err != nil {
		return fmt.Errorf("run mmdebstrap: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return os.Rename(out.Name(), name)
}

// tarToCpio writes what is in a tar archive in the form that the kernel unpacks.
// A hard link becomes a file of its own.
func tarToCpio(w io.Writer, r io.Reader) error {
	a := newArchive(w)
	contents := map[string][]byte{} // of files that may be linked to
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return a.finish()
		} else if err != nil {
			return fmt.Errorf("read tar: %w", err)
		}
		name := strings.Trim(path.Clean("/"+h.Name), "/")
		if name == "" || strings.HasPrefix(name, "dev/") { // a filesystem will be mounted there
			continue
		}
		e := entry{uid: uint32(h.Uid), gid: uint32(h.Gid), mode: uint32(h.Mode) & 0o7777}
		switch h.Typeflag {
		case tar.TypeDir:
			e.mode |= 0o040000
		case tar.TypeSymlink:
			e.mode |= 0o120000
			e.data = []byte(h.Linkname)
		case tar.TypeReg:
			e.mode |= 0o100000
			if e.data, err = io.ReadAll(tr); err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
			contents[name] = e.data
		case tar.TypeLink:
			e.mode |= 0o100000
			e.data = contents[strings.Trim(path.Clean("/"+h.Linkname), "/")]
		default:
			continue
		}
		a.entry(name, e)
	}
}

// entry is one thing in an archive.
type entry struct {
	mode, uid, gid uint32
	data           []byte // content, or where a link points
}

// entry adds one thing. Directories above it must be there.
func (a *archive) entry(name string, e entry) {
	a.dirs[name] = a.dirs[name] || fs.FileMode(e.mode)&0o040000 != 0
	a.owned(name, e.mode, e.uid, e.gid, int64(len(e.data)))
	a.write(e.data)
	a.pad()
}

package bpf

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// What a rename does to the rules: nothing, while there is nothing else at the path.
// A file that the policy names keeps the path that it had, as it has it under any
// hard link. A directory is found by its handle; what is below it has both names.

// bindMoved lets files keep their paths. Whatever comes to a path takes it over. Not
// where inodes have no generation: a new file could have the number of one that was
// removed.
func (b *binding) bindMoved(ts *tests, before *binding) {
	if before == nil {
		return
	}
	shells := shellPaths(ts.shells)
	for id, paths := range before.filePaths {
		for _, p := range paths {
			met, named := ts.exact[p]
			if !named && !shells[p] || id.Gen == 0 || before.links[p] || slices.Contains(b.filePaths[id], p) || !isGone(p) {
				continue
			}
			o := b.object(id)
			o.flags |= objectFile
			o.shell = o.shell || shells[p]
			o.paths = append(o.paths, p)
			o.met = union(o.met, truth{met}, ts.below(p))
			b.filePaths[id] = append(b.filePaths[id], p)
		}
	}
}

// dirHandle finds a directory wherever it is.
type dirHandle struct {
	id     kernelFileId
	handle unix.FileHandle
}

// findDir returns what a directory of the policy is, and where: at the path that it
// was moved to if there is nothing at its own. nil if it is nowhere.
func (b *binding) findDir(dir string, id identifier, before *binding) (ident *kernelIdentity, at string, err error) {
	at = dir
	if ident, err = b.identifyDir(dir, id); err != nil {
		return nil, "", err
	}
	if ident == nil {
		b.missing++
		if ident, at = b.movedDir(dir, id, before); ident == nil {
			return nil, "", nil
		}
	}
	if isLink(strings.TrimSuffix(dir, "/")) {
		return ident, at, nil // the link is not moved when its target is
	}
	if h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, at, 0); err == nil {
		b.dirs[dir] = dirHandle{ident.Id, h}
	} // else a filesystem without handles: it is not followed
	return ident, at, nil
}

// movedDir looks for a directory that is no longer where it was.
func (b *binding) movedDir(dir string, id identifier, before *binding) (*kernelIdentity, string) {
	if before == nil {
		return nil, ""
	}
	was, known := before.dirs[dir]
	if !known {
		return nil, ""
	}
	for _, m := range b.mounts.byDev[was.id.Dev] {
		at, err := openHandle(m.at, was.handle)
		if errors.Is(err, unix.ESTALE) {
			return nil, "" // removed
		}
		if err != nil {
			continue // this is not where that filesystem is any more, or not seen from there
		}
		if ident, err := identifyPath(at, unix.O_DIRECTORY, id); err == nil && ident.Id == was.id {
			return &ident, at + "/"
		}
	}
	return nil, ""
}

// openHandle returns the path of a directory on the filesystem that is mounted at a
// path.
func openHandle(mounted string, handle unix.FileHandle) (string, error) {
	mount, err := unix.Open(mounted, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(mount)
	fd, err := unix.OpenByHandleAt(mount, handle, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return filepath.EvalSymlinks(fmt.Sprintf("/proc/self/fd/%d", fd))
}

func isGone(p string) bool {
	var st unix.Stat_t
	return isAbsent(unix.Stat(p, &st))
}

func isLink(p string) bool {
	var st unix.Stat_t
	return unix.Lstat(p, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFLNK
}

package lockout

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"example.com/bailiff/internal/event"
)

// host finds programs and files of this machine and describes them as the
// kernel side would. What is not there has no acts.
type host struct {
	root   string // "" for this machine; tests have their own
	mounts []mount
	files  map[string]*event.File
}

type mount struct{ point, fsType string }

func newHost(root string) *host {
	h := &host{root: root, files: map[string]*event.File{}}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return h // the type of the filesystem stays empty
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		before, after, ok := strings.Cut(s.Text(), " - ")
		if fields := strings.Fields(before); ok && len(fields) > 4 {
			fsType, _, _ := strings.Cut(after, " ")
			h.mounts = append(h.mounts, mount{fields[4], fsType})
		}
	}
	return h
}

// file describes an existing file; nil if there is none. The path is made
// canonical, as the kernel side does.
func (h *host) file(path string) *event.File {
	if f, ok := h.files[path]; ok {
		return f
	}
	f, err := h.describe(path)
	if err != nil {
		f = nil
	}
	h.files[path] = f
	return f
}

func (h *host) describe(path string) (*event.File, error) {
	path, err := filepath.EvalSymlinks(h.root + path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", path, err)
	}
	f := &event.File{Path: strings.TrimPrefix(path, h.root)}
	var st, dir syscall.Stat_t
	var fs syscall.Statfs_t
	if err := syscall.Stat(path, &st); err != nil {
		return nil, fmt.Errorf("find %s: %w", path, err)
	}
	if err := syscall.Stat(filepath.Dir(path), &dir); err != nil {
		return nil, fmt.Errorf("find directory of %s: %w", path, err)
	}
	if err := syscall.Statfs(path, &fs); err != nil {
		return nil, fmt.Errorf("find filesystem of %s: %w", path, err)
	}
	f.ID = event.FileID{Dev: uint32(st.Dev), Ino: st.Ino}
	f.Mode, f.UID, f.GID, f.Nlink = st.Mode, st.Uid, st.Gid, uint32(st.Nlink)
	f.FsMagic, f.DirMode, f.DirUID = uint64(fs.Type), dir.Mode, dir.Uid
	best := -1
	for _, m := range h.mounts {
		if (path == m.point || m.point == "/" || strings.HasPrefix(path, m.point+"/")) && len(m.point) > best {
			best, f.FsType = len(m.point), m.fsType
		}
	}
	for bit, name := range map[uint32]string{syscall.S_ISUID: "setuid", syscall.S_ISGID: "setgid", 0o002: "world_writable"} {
		if f.Mode&bit != 0 && f.Mode&syscall.S_IFMT == syscall.S_IFREG {
			f.Traits = append(f.Traits, name)
		}
	}
	if f.DirMode&0o002 != 0 {
		f.Traits = append(f.Traits, "dir_world_writable")
	}
	return f, nil
}

// first returns the first of these that there is.
func (h *host) first(paths ...string) *event.File {
	for _, p := range paths {
		if f := h.file(p); f != nil {
			return f
		}
	}
	return nil
}

// all returns those of these that there are, each once.
func (h *host) all(paths ...string) []*event.File {
	var out []*event.File
	seen := map[string]bool{}
	for _, p := range paths {
		if f := h.file(p); f != nil && !seen[f.Path] {
			seen[f.Path] = true
			out = append(out, f)
		}
	}
	return out
}

// rootShell is the login shell of uid 0.
func (h *host) rootShell() *event.File {
	b, err := os.ReadFile(h.root + "/etc/passwd")
	if err != nil {
		return h.first("/bin/sh")
	}
	for line := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) >= 7 && f[2] == "0" {
			if shell := h.file(f[6]); shell != nil {
				return shell
			}
		}
	}
	return h.first("/bin/sh")
}

package bpf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// cgroupRoot finds where cgroup v2 is mounted.
func cgroupRoot() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", fmt.Errorf("find cgroup2: %w", err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		before, after, ok := strings.Cut(sc.Text(), " - ")
		if fields := strings.Fields(before); ok && strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 && fields[3] == "/" {
			return unescape(fields[4]), nil
		}
	}
	return "", errors.New("find cgroup2: no cgroup2 mount in /proc/self/mountinfo")
}

func inode(fi fs.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// cgroupNames turns cgroup ids into paths below the cgroup2 mount.
type cgroupNames struct {
	root  string
	mount *os.File
	known map[uint64]string
}

const (
	handleKernfs  = 0xfe // FILEID_KERNFS: the handle is the id
	maxCgroupKept = 4096
)

func newCgroupNames() *cgroupNames {
	c := &cgroupNames{known: map[uint64]string{}}
	root, err := cgroupRoot()
	if err != nil {
		return c
	}
	c.root = root
	c.mount, _ = os.Open(root)
	return c
}

// path returns the cgroup's path, "" if it is gone or cannot be asked for.
func (c *cgroupNames) path(id uint64) string {
	if p, ok := c.known[id]; ok {
		return p
	}
	if c.mount == nil || id == 0 {
		return ""
	}
	handle := unix.NewFileHandle(handleKernfs, binary.NativeEndian.AppendUint64(nil, id))
	fd, err := unix.OpenByHandleAt(int(c.mount.Fd()), handle, unix.O_PATH)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	p, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return ""
	}
	p = strings.TrimPrefix(p, strings.TrimSuffix(c.root, "/"))
	if p == "" {
		p = "/"
	}
	if len(c.known) >= maxCgroupKept {
		clear(c.known)
	}
	c.known[id] = p
	return p
}

func (c *cgroupNames) close() {
	if c.mount != nil {
		c.mount.Close()
	}
}

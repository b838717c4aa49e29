package harness

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Cgroup is a cgroup (version 2) made for one run.
type Cgroup struct {
	Dir string // full path
	fd  *os.File
}

// Cgroup2Mount returns where the version 2 hierarchy is mounted.
func Cgroup2Mount() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		left, right, ok := strings.Cut(s.Text(), " - ")
		fields := strings.Fields(left)
		if ok && len(fields) > 4 && strings.HasPrefix(right, "cgroup2 ") {
			return fields[4], nil
		}
	}
	return "", errors.New("find cgroup2: it is not mounted")
}

// NewCgroup makes a cgroup of that name prefix at the top of the hierarchy.
func NewCgroup(prefix string) (*Cgroup, error) {
	top, err := Cgroup2Mount()
	if err != nil {
		return nil, err
	}
	return makeCgroup(top, prefix)
}

func makeCgroup(parent, prefix string) (*Cgroup, error) {
	dir, err := os.MkdirTemp(parent, prefix+"-")
	if err != nil {
		return nil, fmt.Errorf("make cgroup: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	fd, err := os.Open(dir)
	if err != nil {
		return nil, errors.Join(err, os.Remove(dir))
	}
	return &Cgroup{Dir: dir, fd: fd}, nil
}

// Child makes a cgroup below c.
func (c *Cgroup) Child(prefix string) (*Cgroup, error) { return makeCgroup(c.Dir, prefix) }

// Put makes cmd start in the cgroup: it is there before its first instruction.
func (c *Cgroup) Put(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD = true
	cmd.SysProcAttr.CgroupFD = int(c.fd.Fd())
}

// Procs returns the pids in the cgroup.
func (c *Cgroup) Procs() ([]string, error) {
	b, err := os.ReadFile(filepath.Join(c.Dir, "cgroup.procs"))
	return strings.Fields(string(b)), err
}

// Remove kills what still runs in the cgroup and removes it.
func (c *Cgroup) Remove() error {
	c.fd.Close()
	// cgroup.kill is there since Linux 5.14; the members are our own children.
	_ = os.WriteFile(filepath.Join(c.Dir, "cgroup.kill"), []byte("1"), 0)
	var err error
	// The directory is busy until the last member has been reaped.
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if err = os.Remove(c.Dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return fmt.Errorf("remove cgroup: %w", err)
}

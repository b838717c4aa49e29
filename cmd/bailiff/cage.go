package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// cage runs commands in the first cgroup of the scope, if there is one, or
// right below it where the kernel wants processes in leaves only.
type cage struct {
	scope []string
	below string // what was made; "" if nothing
}

func (c *cage) run(cmd *exec.Cmd) error {
	if len(c.scope) == 0 {
		return cmd.Run()
	}
	dir := c.scope[0]
	if c.below != "" {
		dir = c.below
	}
	err := runIn(cmd, dir)
	if c.below != "" || !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EOPNOTSUPP) {
		return err
	}
	c.below = filepath.Join(dir, fmt.Sprintf("bailiff-canary-%d", os.Getpid()))
	if err := os.Mkdir(c.below, 0o755); err != nil {
		c.below = ""
		return fmt.Errorf("make a cgroup for the canary: %w", err)
	}
	again := exec.Command(cmd.Path)
	again.Args, again.Dir, again.Env = cmd.Args, cmd.Dir, cmd.Env
	return runIn(again, c.below)
}

func runIn(cmd *exec.Cmd, dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open the scope: %w", err)
	}
	defer f.Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	return cmd.Run()
}

// remove takes away what was made.
func (c *cage) remove() {
	if c.below != "" {
		_ = os.Remove(c.below) // empty, or gone with its parent
	}
}

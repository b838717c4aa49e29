package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"example.com/bailiff/internal/event"
)

const (
	maxCgroupModes = 256
	maxCgroupLevel = 64
	maxCgroupPath  = 255
)

// ErrCgroupMode says that a cgroup cannot have a mode of its own.
var ErrCgroupMode = errors.New("cannot have a mode of its own")

// SetModes says where deny verdicts block from now on. Each change is one
// store: of the mode for all, or of one cgroup's. The modes of rules are not
// its business: they are in the program (ir.Program.WithModes).
func (k *Kernel) SetModes(m event.Modes) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := checkCgroupModes(m.Cgroups); err != nil {
		return fmt.Errorf("set modes: %w", err)
	}
	// Where there are modes of cgroups, the kernel looks for them first.
	if n := uint32(len(m.Cgroups)); n > k.config.CgroupModes {
		k.config.CgroupModes = n
		if err := k.writeConfig(); err != nil {
			return fmt.Errorf("set modes: %w", err)
		}
	}
	if err := k.setCgroupModes(m.Cgroups); err != nil {
		return fmt.Errorf("set modes: %w", err)
	}
	k.config.Mode, k.config.CgroupModes = m.Word(), uint32(len(m.Cgroups))
	if err := k.writeConfig(); err != nil {
		return fmt.Errorf("set modes: %w", err)
	}
	return nil
}

func checkCgroupModes(modes map[string]event.Mode) error {
	if len(modes) > maxCgroupModes {
		return fmt.Errorf("%d cgroups, at most %d can have a mode of their own", len(modes), maxCgroupModes)
	}
	for path := range modes {
		clean := strings.HasPrefix(path, "/") && path != "/" && filepath.Clean(path) == path
		if !clean || len(path) > maxCgroupPath || strings.Count(path, "/") > maxCgroupLevel {
			return fmt.Errorf("%q %w: the path below the cgroup2 mount is wanted, at most %d bytes and %d levels", path, ErrCgroupMode, maxCgroupPath, maxCgroupLevel)
		}
	}
	return nil
}

// setCgroupModes makes the maps what is wanted. The path goes first: a cgroup
// that is made in between then gets its mode from the kernel or from here.
func (k *Kernel) setCgroupModes(want map[string]event.Mode) error {
	root, err := cgroupRoot()
	if err != nil && len(want) > 0 {
		return err
	}
	paths, ids := k.coll.Maps["cgroup_mode_paths"], k.coll.Maps["cgroup_modes"]
	var had []string
	var key kernelCgroupPath
	var mode uint32
	for it := paths.Iterate(); it.Next(&key, &mode); {
		had = append(had, text(key.Path[:]))
	}
	for _, path := range had {
		if _, stays := want[path]; stays {
			continue
		}
		if err := remove(paths, pathKey(path)); err != nil {
			return fmt.Errorf("forget mode of %s: %w", path, err)
		}
		if st, err := os.Stat(root + path); err == nil {
			if err := remove(ids, inode(st)); err != nil {
				return fmt.Errorf("forget mode of %s: %w", path, err)
			}
		}
	}
	for path, m := range want {
		if err := paths.Put(pathKey(path), uint32(m)); err != nil {
			return fmt.Errorf("store mode of %s: %w", path, err)
		}
		st, err := os.Stat(root + path)
		if errors.Is(err, os.ErrNotExist) {
			continue // it gets its mode when it is made
		}
		if err != nil {
			return fmt.Errorf("find cgroup: %w", err)
		}
		if err := ids.Put(inode(st), uint32(m)); err != nil {
			return fmt.Errorf("store mode of %s: %w", path, err)
		}
	}
	return nil
}

func remove(m *ebpf.Map, key any) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

func pathKey(path string) kernelCgroupPath {
	return kernelCgroupPath{Path: [maxCgroupPath + 1]int8(chars(path, maxCgroupPath+1))}
}

// FindCgroup returns the path below the cgroup2 mount of what an operator
// names: such a path, a directory below the mount, or the last component alone
// where only one cgroup has it. A path need not exist yet.
func FindCgroup(name string) (string, error) {
	root, err := cgroupRoot()
	if err != nil {
		return "", err
	}
	if filepath.IsAbs(name) {
		clean := filepath.Clean(name)
		if below, ok := strings.CutPrefix(clean, root+"/"); ok {
			return "/" + below, nil
		}
		return clean, nil
	}
	var found []string
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == name && path != root {
			found = append(found, strings.TrimPrefix(path, root))
		}
		return nil // what goes away while we look is not there
	})
	if err != nil {
		return "", fmt.Errorf("look for cgroup %s: %w", name, err)
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("find cgroup: none is called %q; give its path below the cgroup2 mount, such as /system.slice/%s", name, name)
	case 1:
		return found[0], nil
	}
	slices.Sort(found)
	return "", fmt.Errorf("find cgroup: %d are called %q: %s", len(found), name, strings.Join(found[:min(len(found), 5)], ", "))
}

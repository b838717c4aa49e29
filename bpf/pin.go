package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// BPFFS is where Linux has the filesystem on which maps can be pinned.
const BPFFS = "/sys/fs/bpf"

// pin makes the counters outlive the agent's death. A bpffs that nobody has
// mounted is mounted, and stays, as it is on most machines anyway.
func (k *Kernel) pin() error {
	var st unix.Statfs_t
	if err := unix.Statfs(BPFFS, &st); err != nil || st.Type != unix.BPF_FS_MAGIC {
		if err := unix.Mount("bpf", BPFFS, "bpf", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=700"); err != nil {
			return fmt.Errorf("mount bpffs: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(k.opt.Pin), 0o700); err != nil {
		return fmt.Errorf("pin counters: %w", err)
	}
	if err := k.coll.Maps["counters"].Pin(k.opt.Pin); err != nil {
		return fmt.Errorf("pin counters: %w", err)
	}
	return nil
}

func (k *Kernel) unpin() error {
	if k.opt.Pin == "" {
		return nil
	}
	if err := os.Remove(k.opt.Pin); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpin counters: %w", err)
	}
	return nil
}

// Left returns how many acts a kernel side was to tell of whose agent was
// killed: those that it told and those for which there was no room. The file is
// that of its Options.Pin; it is removed.
func Left(pin string) (acts uint64, err error) {
	m, err := ebpf.LoadPinnedMap(pin, nil)
	if err != nil {
		return 0, fmt.Errorf("open pinned counters: %w", err)
	}
	defer m.Close()
	counts, err := readCounters(m)
	if err != nil {
		return 0, err
	}
	if err := m.Unpin(); err != nil {
		return 0, fmt.Errorf("unpin counters: %w", err)
	}
	return counts[acted], nil
}

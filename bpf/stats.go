package bpf

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Ring returns how many bytes of the ring buffer wait to be read, and its size.
func (k *Kernel) Ring() (used, size int) {
	return k.reader.AvailableBytes(), k.reader.BufferSize()
}

// ProgramStat is what the kernel measured of one program, since it was loaded
// and while measuring was on.
type ProgramStat struct {
	Name string // as in bpf/bailiff.bpf.c
	Runs uint64
	Time time.Duration
}

// EnableStats makes the kernel measure all BPF programs of the machine, until
// the result is closed or the process ends. It costs each run some 20 ns.
func EnableStats() (io.Closer, error) {
	c, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return nil, fmt.Errorf("measure BPF programs: %w", err)
	}
	return c, nil
}

// programs are those that are loaded, by name.
func (k *Kernel) programs() map[string]*ebpf.Program {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := maps.Clone(k.coll.Programs)
	for _, m := range k.more {
		maps.Copy(out, m.programs)
	}
	for _, m := range k.digests {
		maps.Copy(out, m.programs)
	}
	return out
}

// ProgramStats returns what the kernel measured of each program; nothing of
// those that never ran while somebody had it measure.
func (k *Kernel) ProgramStats() ([]ProgramStat, error) {
	var out []ProgramStat
	for name, p := range k.programs() {
		s, err := p.Stats()
		if err != nil && k.coll.Programs[name] == nil {
			continue // taken off meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("read statistics of %s: %w", name, err)
		}
		if s.RunCount > 0 {
			out = append(out, ProgramStat{Name: name, Runs: s.RunCount, Time: s.Runtime})
		}
	}
	slices.SortFunc(out, func(a, b ProgramStat) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

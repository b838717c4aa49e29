package bpf

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// digestPrograms are loaded and attached only while rules read digests. What is
// attached last is called first: lsm_exec is there already.
var digestPrograms = []string{"lsm_digest", "lsm_digest_ask"}

const digestsTried = 2 // as in digest.h

// loadDigests loads them for a generation that needs them. Where the kernel does
// not let them in a digest is not known, about which the rules say what happens.
// Under k.mu.
func (k *Kernel) loadDigests(g *generation) {
	if k.digests != nil || k.backend != BackendLSM || !g.tables.needsDigests() {
		return
	}
	programs, err := k.loadPrograms(digestPrograms)
	if err != nil {
		k.noDigests(fmt.Errorf("load programs: %w", err))
		return
	}
	k.digests = &more{programs: programs}
}

// attachDigests attaches them before the generation that needs them is active.
// Under k.mu.
func (k *Kernel) attachDigests(g *generation) {
	if k.digests == nil || len(k.digests.links) > 0 || !g.tables.needsDigests() {
		return
	}
	k.config.Digests = digestsTried
	err := k.writeConfig()
	if err == nil {
		err = attachDigests(k.digests, k.coll.Maps["counters"])
	}
	k.config.Digests = 1
	err = errors.Join(err, k.writeConfig())
	if errors.Is(err, errNotTested) {
		k.log.Debug("digests are not self-tested", "error", err)
		err = nil
	}
	if err != nil {
		k.noDigests(errors.Join(err, k.dropDigests(nil)))
	}
}

func (k *Kernel) noDigests(err error) {
	k.hookless.Add(1)
	k.log.Error("rules that read digests have none", "error", err)
}

// attachDigests attaches the programs, and sees that a digest comes out.
func attachDigests(m *more, counters *ebpf.Map) error {
	for _, name := range digestPrograms {
		l, err := attachProgram(m.programs[name])
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		m.links = append(m.links, l)
	}
	return seesDigest(counters, "digest_known", actOnce) // lsm_exec has counted it
}

// seesDigest acts, and looks whether that was counted.
func seesDigest(counters *ebpf.Map, counter string, act func() error) error {
	before, err := readCounters(counters)
	for range 3 {
		if err != nil {
			return fmt.Errorf("%w: %w", errNotTested, err)
		}
		if err := act(); err != nil {
			return fmt.Errorf("%w: %w", errNotTested, err)
		}
		var after map[string]uint64
		if after, err = readCounters(counters); err == nil && after[counter] != before[counter] {
			return nil
		}
	}
	return errors.New("self-test: no SHA-256 came out (no IMA, it is set to another digest, or the programs are not called in their order)")
}

// dropDigests takes the programs off unless one of these generations needs them.
// Under k.mu.
func (k *Kernel) dropDigests(gens map[uint32]*generation) error {
	if k.digests == nil {
		return nil
	}
	for _, g := range gens {
		if g.tables.needsDigests() {
			return nil
		}
	}
	m := k.digests
	k.digests, k.config.Digests = nil, 0
	return errors.Join(k.writeConfig(), m.close())
}

// ComputesDigests tries out whether this kernel computes digests for programs of a
// backend as users name it; the error says why not.
func ComputesDigests(backend string) error {
	const probe = "digest_probe"
	if backend != "" && backend != BackendAuto && backend != BackendLSM {
		return fmt.Errorf("compute digest: the %s backend cannot sleep while it decides", backend)
	}
	spec, err := probeSpec(probe)
	if err != nil {
		return err
	}
	if err := spec.Variables["settings"].Set(&kernelConfig{Agent: uint32(unix.Getpid())}); err != nil {
		return fmt.Errorf("compute digest: %w", err)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return fmt.Errorf("compute digest: %w", err)
	}
	defer coll.Close()
	l, err := attachProgram(coll.Programs[probe])
	if err != nil {
		return fmt.Errorf("compute digest: %w", err)
	}
	return errors.Join(seesDigest(coll.Maps["counters"], "digest_computed", openOnce), l.Close())
}

// openOnce opens a file that has no content.
func openOnce() error {
	fd, err := unix.MemfdCreate("bailiff-self-test", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return err
	}
	return f.Close()
}

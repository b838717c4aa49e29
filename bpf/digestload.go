package bpf

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// digestSet are the programs that leave a digest for lsm_exec, loaded and attached
// only while rules read it. What is attached last is called first: lsm_exec is
// there already.
type digestSet struct {
	programs []string
	bit      uint32 // of settings.digests
	probe    string // program that tries out whether the kernel has the digest
	probed   string // counter of that
	left     string // counter that lsm_exec steps when it finds the digest
	without  string // why there may be none
}

// digestSets are by field, to be attached in the order of event.Digests.
var digestSets = map[event.FieldID]*digestSet{
	event.FieldSHA256: {[]string{"lsm_digest", "lsm_digest_ask"}, 1, "digest_probe", "digest_computed", "digest_known", "no IMA, it is set to another digest, or the programs are not called in their order"},
	event.FieldVerity: {[]string{"lsm_verity"}, 2, "verity_probe", "verity_known", "verity_known", "no bpf_get_fsverity_digest: Linux 6.8 and later, with CONFIG_FS_VERITY"},
}

const digestsTried = 4 // as in digest.h

// loadDigests loads them for a generation that needs them. Where the kernel does
// not let them in a digest is not known, about which the rules say what happens.
// Under k.mu.
func (k *Kernel) loadDigests(g *generation) {
	for _, f := range event.Digests {
		if k.digests[f] != nil || k.backend != BackendLSM || !g.tables.needsDigest(f) {
			continue
		}
		programs, err := k.loadPrograms(digestSets[f].programs)
		if err != nil {
			k.noDigests(f, fmt.Errorf("load programs: %w", err))
			continue
		}
		k.digests[f] = &more{programs: programs}
	}
}

// attachDigests attaches them before the generation that needs them is active.
// Under k.mu.
func (k *Kernel) attachDigests(g *generation) {
	for _, f := range event.Digests {
		m, set := k.digests[f], digestSets[f]
		if m == nil || len(m.links) > 0 || !g.tables.needsDigest(f) {
			continue
		}
		k.config.Digests |= set.bit | digestsTried
		err := k.writeConfig()
		if err == nil {
			err = set.attach(m, k.coll.Maps["counters"])
		}
		k.config.Digests &^= digestsTried
		err = errors.Join(err, k.writeConfig())
		if errors.Is(err, errNotTested) {
			k.log.Debug("digests are not self-tested", "error", err)
			err = nil
		}
		if err != nil {
			k.noDigests(f, errors.Join(err, k.dropDigest(f)))
		}
	}
}

func (k *Kernel) noDigests(f event.FieldID, err error) {
	k.hookless.Add(1)
	k.log.Error("rules that read digests have none", "field", event.FieldByID(f).Path, "error", err)
}

// attach attaches the programs, and sees that a digest comes out.
func (s *digestSet) attach(m *more, counters *ebpf.Map) error {
	for _, name := range s.programs {
		l, err := attachProgram(m.programs[name])
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		m.links = append(m.links, l)
	}
	return s.sees(counters, s.left, actOnce)
}

// sees acts, and looks whether that was counted.
func (s *digestSet) sees(counters *ebpf.Map, counter string, act func() error) error {
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
	return fmt.Errorf("self-test: no digest came out (%s)", s.without)
}

// dropDigests takes off the programs that none of these generations needs. Under
// k.mu.
func (k *Kernel) dropDigests(gens map[uint32]*generation) error {
	var errs []error
	for f := range k.digests {
		needed := false
		for _, g := range gens {
			needed = needed || g.tables.needsDigest(f)
		}
		if !needed {
			errs = append(errs, k.dropDigest(f))
		}
	}
	return errors.Join(errs...)
}

func (k *Kernel) dropDigest(f event.FieldID) error {
	m := k.digests[f]
	delete(k.digests, f)
	k.config.Digests &^= digestSets[f].bit
	return errors.Join(k.writeConfig(), m.close())
}

// KnowsDigest tries out whether this kernel has a digest, a field of
// event.OnlyAtGate, for programs of a backend as users name it; the error says why
// not.
func KnowsDigest(field, backend string) error {
	if backend != "" && backend != BackendAuto && backend != BackendLSM {
		return fmt.Errorf("know %s: only the programs of the %s backend are told", field, BackendLSM)
	}
	f, ok := event.FieldByPath(field)
	if !ok || digestSets[f.ID] == nil {
		return fmt.Errorf("know %s: it is no digest", field)
	}
	if err := digestSets[f.ID].tryOut(); err != nil {
		return fmt.Errorf("know %s: %w", field, err)
	}
	return nil
}

func (s *digestSet) tryOut() error {
	spec, err := probeSpec(s.probe)
	if err != nil {
		return err
	}
	if err := spec.Variables["settings"].Set(&kernelConfig{Agent: uint32(unix.Getpid())}); err != nil {
		return err
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return err
	}
	defer coll.Close()
	l, err := attachProgram(coll.Programs[s.probe])
	if err != nil {
		return err
	}
	return errors.Join(s.sees(coll.Maps["counters"], s.probed, openOnce), l.Close())
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

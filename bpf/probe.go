package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// Feature is the answer to one question about this kernel.
type Feature struct {
	Name   string `json:"name"`
	State  string `json:"state"`            // yes, no or unknown
	Why    string `json:"why,omitempty"`    // what was seen
	Lost   string `json:"lost,omitempty"`   // what does not work without it
	Remedy string `json:"remedy,omitempty"` // what an operator can do
}

// Probe asks this kernel by loading and attaching small programs: lists and
// versions prove nothing.
func Probe(ctx context.Context) []Feature {
	return []Feature{
		probeProgram(BackendLSM, "floor_open",
			"deny verdicts cannot be enforced through the BPF LSM",
			"boot with bpf in the lsm= list (see /sys/kernel/security/lsm) on a kernel with CONFIG_BPF_LSM"),
		probeProgram(BackendModifyReturn, "floor_mod",
			"deny verdicts cannot be enforced by modified returns of security_* functions",
			"use a kernel with BPF trampolines (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS) that is not locked down"),
		probeProgram(BackendTracepoint, "track_exit",
			"Bailiff cannot run at all: it cannot see processes start and end",
			"run as root (CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN) on a kernel of 6.1 or later with BTF"),
		probeDigest("digests", event.FieldSHA256, "the agent reads the file", "use a kernel with CONFIG_IMA that computes SHA-256 (ima_hash=sha256), with the BPF LSM"),
		probeDigest("verity", event.FieldVerity, "the agent asks for it", "use a kernel of 6.8 or later with CONFIG_FS_VERITY, with the BPF LSM"),
		probeCgroup(),
		probeBTF(),
		probeAddresses(),
	}
}

func probeBTF() Feature {
	f := Feature{Name: "btf", State: "yes", Lost: "programs cannot be fitted to this kernel",
		Remedy: "use a kernel with CONFIG_DEBUG_INFO_BTF"}
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err != nil {
		f.State, f.Why = "no", err.Error()
	}
	return f
}

func probeDigest(name string, id event.FieldID, held, remedy string) Feature {
	field := event.FieldByID(id).Path
	f := Feature{Name: name, State: "yes", Lost: fmt.Sprintf("rules on %s are not decided by the kernel: an exec is held while %s", field, held), Remedy: remedy}
	if err := KnowsDigest(field, BackendLSM); err != nil {
		f.State, f.Why = "no", strings.TrimSpace(err.Error())
	}
	return f
}

func probeCgroup() Feature {
	f := Feature{Name: "cgroup2", State: "yes", Lost: "scope cannot be limited to cgroups", Remedy: "mount -t cgroup2 none /sys/fs/cgroup"}
	root, err := cgroupRoot()
	if err != nil {
		f.State, f.Why = "no", err.Error()
		return f
	}
	f.Why = "mounted at " + root
	return f
}

// probeProgram loads and attaches one program and takes it away again.
func probeProgram(name, program, lost, remedy string) Feature {
	f := Feature{Name: name, Lost: lost, Remedy: remedy}
	err := tryProgram(program)
	var ve *ebpf.VerifierError
	switch {
	case err == nil:
		f.State = "yes"
	case errors.As(err, &ve) && len(ve.Log) > 0:
		f.State, f.Why = "unknown", "the verifier refused the probe: "+ve.Error()
	case errors.Is(err, unix.EPERM) && os.Geteuid() != 0:
		f.State, f.Why = "unknown", "not root"
	default:
		f.State, f.Why = "no", strings.TrimSpace(err.Error())
	}
	return f
}

// probeSpec is some of the programs, with the tables that they use, all small.
func probeSpec(names ...string) (*ebpf.CollectionSpec, error) {
	spec, err := loadKernel()
	if err != nil {
		return nil, err
	}
	for n := range spec.Programs {
		if !slices.Contains(names, n) {
			delete(spec.Programs, n)
		}
	}
	used := map[string]bool{}
	for _, p := range spec.Programs {
		for _, ins := range p.Instructions {
			used[ins.Reference()] = true
		}
	}
	for n, m := range spec.Maps {
		switch {
		case !used[n] && !strings.HasPrefix(n, "."):
			delete(spec.Maps, n)
		case m.Type == ebpf.Hash:
			m.MaxEntries = 1
		case m.Type == ebpf.RingBuf:
			m.MaxEntries = 4096
		}
	}
	return spec, nil
}

func tryProgram(name string) error {
	spec, err := probeSpec(name)
	if err != nil {
		return err
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return err
	}
	defer coll.Close()
	l, err := attachProgram(coll.Programs[name])
	if err != nil {
		return err
	}
	return l.Close()
}

// chooseBackend takes the wish, or the first that works.
func chooseBackend(ctx context.Context, wish string) (string, error) {
	switch wish {
	case BackendLSM, BackendModifyReturn, BackendTracepoint:
		return wish, nil
	case "", BackendAuto:
	default:
		return "", fmt.Errorf("choose backend: %q is not one of auto, lsm, modify-return, tracepoint", wish)
	}
	if tryProgram("floor_open") == nil {
		return BackendLSM, nil
	}
	if tryProgram("floor_mod") == nil {
		return BackendModifyReturn, nil
	}
	return BackendTracepoint, nil
}

// selfTest acts once on every hook and looks whether its program ran: attached
// programs that never fire have been seen. track_exec is left out: it runs only
// after a successful exec, and nothing is executed here.
func (k *Kernel) selfTest() error {
	return k.testHooks(k.coll.Programs, append([]string{"track_fork", "track_exit"}, hooks[k.backend]...), actOnce)
}

// errNotTested: the act that would have made the programs run could not be done,
// which says nothing about them.
var errNotTested = errors.New("self-test")

func (k *Kernel) testHooks(loaded map[string]*ebpf.Program, programs []string, act func() error) error {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		k.log.Warn("hooks are not self-tested", "error", err)
		return nil
	}
	defer stats.Close()
	before := runCounts(loaded, programs)
	for range 3 {
		if err := act(); err != nil {
			return fmt.Errorf("%w: %w", errNotTested, err)
		}
		missing := ""
		for name, n := range runCounts(loaded, programs) {
			if n == before[name] {
				missing = name
			}
		}
		if missing == "" {
			return nil
		}
		err = fmt.Errorf("self-test: program %s is attached but did not run", missing)
	}
	return err
}

// runCounts returns how often each program has run.
func runCounts(loaded map[string]*ebpf.Program, programs []string) map[string]uint64 {
	out := map[string]uint64{}
	for _, name := range programs {
		if st, err := loaded[name].Stats(); err == nil {
			out[name] = st.RunCount
		}
	}
	return out
}

// actOnce opens a file, forks, and executes a file that is no program: the
// hook sees the exec, the kernel refuses it, the child ends.
func actOnce() error {
	fd, err := unix.MemfdCreate("bailiff-self-test", 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "self-test")
	defer f.Close()
	if err := f.Chmod(0o700); err != nil {
		return err
	}
	null, err := os.Open("/dev/null")
	if err != nil {
		return err
	}
	null.Close()
	cmd := exec.Command(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err := cmd.Run(); err == nil {
		return errors.New("an empty file was executed")
	}
	return nil
}

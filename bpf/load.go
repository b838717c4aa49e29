package bpf

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// Programs by backend. The tracking programs are attached with every backend.
var (
	trackers = []string{"track_fork", "track_exec", "track_exit", "track_mkdir", "track_rmdir", "track_move"}
	hooks    = map[string][]string{
		BackendLSM:          {"lsm_fork", "lsm_exec", "lsm_open"},
		BackendModifyReturn: {"mod_fork", "mod_exec", "mod_open"},
		BackendTracepoint:   {},
	}
	offHook = []string{"find_initial", "identify", "seed_all", "examine"}
)

// load puts the programs of this backend and the maps into the kernel.
func (k *Kernel) load() error {
	// Old kernels account maps against a limit; newer ones do not, and a
	// missing capability to raise it is then of no consequence.
	if err := rlimit.RemoveMemlock(); err != nil {
		k.log.Debug("memlock limit stays", "error", err)
	}
	programs := slices.Concat(trackers, hooks[k.backend], offHook)
	if !k.CanRefuse() {
		programs = append(programs, "track_open") // attached while there are rules on opens
	}
	spec, err := k.spec(programs)
	if err != nil {
		return err
	}
	for _, name := range outerMaps {
		inner := spec.Maps[name].InnerMap.Copy()
		inner.Name = name
		k.inner[name] = inner
	}
	if k.coll, err = ebpf.NewCollection(spec); err != nil {
		return err
	}
	if k.reader, err = ringbuf.NewReader(k.coll.Maps["events"]); err != nil {
		return fmt.Errorf("open ring buffer: %w", err)
	}
	k.reader.SetDeadline(time.Now().Add(pollEvery)) // without a first one Next would wait for an event, not for its context
	if k.decoder, err = newDecoder(k); err != nil {
		return err
	}
	if k.gate, err = newGateSide(k); err != nil {
		return err
	}
	return k.configure()
}

// spec is these programs, and the maps as this agent has them.
func (k *Kernel) spec(programs []string) (*ebpf.CollectionSpec, error) {
	spec, err := loadKernel()
	if err != nil {
		return nil, err
	}
	for name := range spec.Programs {
		if !slices.Contains(programs, name) {
			delete(spec.Programs, name)
		}
	}
	ring := k.opt.RingBytes
	if ring <= 0 {
		ring = DefaultRing
	}
	if k.CanRefuse() {
		// A constant for the verifier: it skips what only the other backend does.
		if err := spec.Variables["can_refuse"].Set(uint32(1)); err != nil {
			return nil, fmt.Errorf("set constant: %w", err)
		}
	}
	spec.Maps["events"].MaxEntries = 1 << bits.Len(uint(max(ring, 4096)-1))
	return spec, nil
}

// configure writes the settings that are known before anything is attached.
func (k *Kernel) configure() error {
	c := &k.config
	c.Secret = rand.Uint64()
	c.Wall = uint64(wallOffset())
	c.Agent = uint32(os.Getpid())
	c.Bindings = firstBindings
	if k.opt.AllOpens {
		c.AllOpens = 1
	}
	if len(k.opt.Env) > 0 {
		c.WantEnv = 1
	}
	if ret, err := k.coll.Programs["find_initial"].Run(&ebpf.RunOptions{}); err != nil || ret != 0 {
		return fmt.Errorf("find the first process: %w", cmp.Or(err, error(unix.ESRCH)))
	}
	if at, err := k.countOfRenames(); err != nil {
		return err
	} else if shown, err := addressesShown(); at == 0 && err == nil && !shown {
		k.log.Warn("the kernel hides its addresses: opens cost more than they need to", "remedy", probeAddresses().Remedy)
	}
	if len(k.opt.Scope) > len(c.Scope) {
		return fmt.Errorf("set scope: %d cgroups, at most %d", len(k.opt.Scope), len(c.Scope))
	}
	for i, dir := range k.opt.Scope {
		s, err := scopeOf(dir)
		if err != nil {
			return err
		}
		c.Scope[i] = s
		c.Scopes++
	}
	for _, p := range k.opt.Rescue {
		ident, err := identifyPath(p, 0, k.identify)
		if err != nil {
			return fmt.Errorf("find rescue program %s: %w", p, err)
		}
		if err := k.coll.Maps["rescue"].Put(ident.Id, uint32(1)); err != nil {
			return fmt.Errorf("store rescue program %s: %w", p, err)
		}
	}
	return k.writeConfig()
}

// identify asks the kernel what a descriptor of this process refers to.
func (k *Kernel) identify(fd int) (kernelIdentity, error) {
	var out kernelIdentity
	k.identifyMu.Lock()
	defer k.identifyMu.Unlock()
	ret, err := k.coll.Programs["identify"].Run(&ebpf.RunOptions{Context: kernelIdentityOf{Fd: uint32(fd)}})
	if err != nil {
		return out, fmt.Errorf("identify descriptor: %w", err)
	}
	if ret != 0 {
		return out, fmt.Errorf("identify descriptor: %w", unix.EBADF)
	}
	if err := k.coll.Maps["identified"].Lookup(uint32(0), &out); err != nil {
		return out, fmt.Errorf("read identity: %w", err)
	}
	return out, nil
}

// attach first lets the trackers see every process, then the hooks judge.
func (k *Kernel) attach() error {
	for _, name := range append(append([]string{}, trackers...), hooks[k.backend]...) {
		l, err := attachProgram(k.coll.Programs[name])
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		k.links = append(k.links, l)
	}
	return nil
}

// openCalls are the system calls whose return the tracepoint backend watches.
var openCalls = []string{"sys_exit_open", "sys_exit_openat", "sys_exit_openat2", "sys_exit_creat", "sys_exit_open_by_handle_at"}

// watchOpens attaches or detaches the tracepoints on opens: they make every
// system call of the machine slower, so they are there only when they are of use.
func (k *Kernel) watchOpens(g *generation) error {
	if k.CanRefuse() {
		return nil
	}
	if len(g.tables.hooks[event.HookOpen-1].bits) == 0 && !k.opt.AllOpens {
		var errs []error
		for _, l := range k.openLinks {
			errs = append(errs, l.Close())
		}
		k.openLinks = nil
		return errors.Join(errs...)
	}
	if len(k.openLinks) > 0 {
		return nil
	}
	if err := k.mountTracefs(); err != nil {
		return err
	}
	for _, call := range openCalls {
		l, err := link.Tracepoint("syscalls", call, k.coll.Programs["track_open"], nil)
		if errors.Is(err, os.ErrNotExist) {
			continue // this architecture has no such call
		}
		if err != nil {
			return fmt.Errorf("attach %s: %w (opens are not reported)", call, err)
		}
		k.openLinks = append(k.openLinks, l)
	}
	return nil
}

const tracefs = "/sys/kernel/tracing"

// mountTracefs mounts what numbers tracepoints, where nobody has; Close
// unmounts it again.
func (k *Kernel) mountTracefs() error {
	if _, err := os.Stat(tracefs + "/events/syscalls"); err == nil {
		return nil
	}
	if err := unix.Mount("tracefs", tracefs, "tracefs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount tracefs: %w (opens are not reported)", err)
	}
	k.mountedTracefs = true
	return nil
}

func attachProgram(p *ebpf.Program) (link.Link, error) {
	if p.Type() == ebpf.LSM {
		return link.AttachLSM(link.LSMOptions{Program: p})
	}
	return link.AttachTracing(link.TracingOptions{Program: p})
}

// seed gives every process that runs already its context.
func (k *Kernel) seed() error {
	it, err := link.AttachIter(link.IterOptions{Program: k.coll.Programs["seed_all"]})
	if err != nil {
		return fmt.Errorf("attach task iterator: %w", err)
	}
	defer it.Close()
	r, err := it.Open()
	if err != nil {
		return fmt.Errorf("iterate tasks: %w", err)
	}
	defer r.Close()
	var none [1]byte
	for {
		n, err := r.Read(none[:])
		if n == 0 || err != nil {
			return nil // EOF: the program writes nothing
		}
	}
}

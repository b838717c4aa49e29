// Package bpf is the kernel side of Bailiff: the programs, their tables, and
// the events that come back. It is the only package that imports cilium/ebpf.
//
// Open probes what this kernel allows, loads the programs and attaches them;
// Stage, Activate and Retire exchange the rules; Next yields events. Close
// detaches everything: nothing stays behind.
package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// The backends, by the names that users give them.
const (
	BackendAuto         = "auto"
	BackendLSM          = "lsm"
	BackendModifyReturn = "modify-return"
	BackendTracepoint   = "tracepoint"
)

// Options say how to open the kernel side.
type Options struct {
	Backend  string   // one of the Backend constants; "" is auto
	Scope    []string // cgroup v2 directories; none means every process
	Rescue   []string // programs that are never denied, by path
	AllOpens bool     // report every open in scope, not only what rules concern
	Env      []string // names of environment variables to keep in exec events; none are copied if empty
	// Pin is a file on a bpffs (BPFFS is mounted if need be) under which the
	// counters can be found while the kernel side is open, and after the agent
	// was killed: see Left. Empty: none.
	Pin       string
	RingBytes int // size of the ring buffer, rounded up to a power of two; 0 is DefaultRing
	Log       hclog.Logger
}

// DefaultRing is the size of the ring buffer: some 12,000 events. Each byte of it
// counts twice in the agent's resident memory, because it is mapped twice in a row.
const DefaultRing = 8 << 20

// Kernel is the kernel side while it is attached. Its methods are safe for
// concurrent use, but Next is for one caller.
type Kernel struct {
	opt     Options
	log     hclog.Logger
	backend string
	coll    *ebpf.Collection
	inner   map[string]*ebpf.MapSpec // what the maps of a generation are like, by the outer map's name
	links   []link.Link
	// openLinks are the tracepoints on opens, attached while rules ask; under mu.
	openLinks      []link.Link
	more           map[event.Hook]*more    // loaded while rules ask; under mu
	digests        map[event.FieldID]*more // the programs that leave digests, likewise; under mu
	mountedTracefs bool
	reader         *ringbuf.Reader
	record         ringbuf.Record // the last one that was read; no event keeps any of it

	mu         sync.Mutex // stage, activate, retire, rebind
	identifyMu sync.Mutex
	lastGen    uint32
	gens       map[uint32]*generation
	active     atomic.Pointer[generation]
	config     kernelConfig // as last written; under mu

	decoder  *decoder
	gate     *gateSide
	waives   waives
	heldFull atomic.Uint64 // verdicts of the gate that did not fit into the table
	rebinder *rebinder
	rebinds  atomic.Uint64
	unbound  atomic.Uint64 // times that paths or opens could not all be tied to the active generation
	hookless atomic.Uint64 // times that a hook could not be had that a generation needs
	closed   atomic.Bool
}

// Backend returns the name of the backend in use.
func (k *Kernel) Backend() string { return k.backend }

// CanRefuse reports whether acts can be refused before they happen.
func (k *Kernel) CanRefuse() bool { return k.backend != BackendTracepoint }

// Open loads and attaches. On error nothing stays attached.
func Open(ctx context.Context, opt Options) (*Kernel, error) {
	if opt.Log == nil {
		opt.Log = hclog.NewNullLogger()
	}
	backend, err := chooseBackend(ctx, opt.Backend)
	if err != nil {
		return nil, err
	}
	k := &Kernel{opt: opt, log: opt.Log, backend: backend, gens: map[uint32]*generation{}, more: map[event.Hook]*more{}, digests: map[event.FieldID]*more{}, inner: map[string]*ebpf.MapSpec{}}
	k.waives.k = k
	if err := k.load(); err != nil {
		k.Close()
		return nil, fmt.Errorf("load programs for the %s backend: %w", backend, err)
	}
	if opt.Pin != "" {
		// Before the first act can be counted. What the next start would know is
		// no reason not to protect now.
		if err := k.pin(); err != nil {
			k.log.Warn("losses could not be counted if the agent were killed", "error", err)
		}
	}
	if err := k.attach(); err != nil {
		k.Close()
		return nil, err
	}
	if err := k.seed(); err != nil {
		k.Close()
		return nil, err
	}
	var rerr error
	if k.rebinder, rerr = startRebinder(k); rerr != nil {
		k.Close()
		return nil, rerr
	}
	if err := k.selfTest(); err != nil {
		k.Close()
		return nil, err
	}
	return k, nil
}

// Detach takes the programs off: nothing is denied or told any more. What was
// told before can still be read. It may be called twice.
func (k *Kernel) Detach() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	var errs []error
	// Refusing hooks go first.
	for h, m := range k.more {
		errs = append(errs, m.close())
		delete(k.more, h)
	}
	for f, m := range k.digests {
		errs = append(errs, m.close())
		delete(k.digests, f)
	}
	errs = append(errs, k.dropWaives(nil))
	for i := len(k.links) - 1; i >= 0; i-- {
		errs = append(errs, k.links[i].Close())
	}
	for _, l := range k.openLinks {
		errs = append(errs, l.Close())
	}
	k.links, k.openLinks = nil, nil
	return errors.Join(errs...)
}

// Close detaches every program and frees the tables. It may be called twice.
func (k *Kernel) Close() error {
	if k.closed.Swap(true) {
		return nil
	}
	if k.rebinder != nil {
		k.rebinder.close()
	}
	errs := []error{k.Detach()}
	if k.reader != nil {
		errs = append(errs, k.reader.Close())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	errs = append(errs, k.unpin())
	if k.mountedTracefs {
		errs = append(errs, unix.Unmount(tracefs, unix.MNT_DETACH))
	}
	for _, g := range k.gens {
		g.close()
	}
	if k.decoder != nil {
		k.decoder.cgroups.close()
	}
	if k.gate != nil {
		k.gate.close()
	}
	if k.coll != nil {
		k.coll.Close()
	}
	return errors.Join(errs...)
}

// writeConfig stores the whole configuration. Each field is one aligned word,
// so a program sees the old or the new value of it.
func (k *Kernel) writeConfig() error {
	return k.coll.Variables["settings"].Set(&k.config)
}

// scopeOf turns a cgroup directory into its id and depth.
func scopeOf(dir string) (kernelScope, error) {
	root, err := cgroupRoot()
	if err != nil {
		return kernelScope{}, err
	}
	dir, err = filepath.EvalSymlinks(dir)
	if err != nil {
		return kernelScope{}, fmt.Errorf("find scope: %w", err)
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil || strings.HasPrefix(rel, "..") {
		return kernelScope{}, fmt.Errorf("find scope: %s is not below the cgroup2 mount %s", dir, root)
	}
	st, err := os.Stat(dir)
	if err != nil {
		return kernelScope{}, fmt.Errorf("find scope: %w", err)
	}
	level := 0
	if rel != "." {
		level = strings.Count(rel, "/") + 1
	}
	return kernelScope{Cgroup: inode(st), Level: uint32(level)}, nil
}

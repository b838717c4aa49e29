package bpf

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

const numSlots = 4

// spare is how many classes and vectors a generation can still take while it
// is active: files that appear under names that rules mention need them.
const spare = 256

// generation is one installed program with its tables.
type generation struct {
	number  uint32
	tables  *tables
	history atomic.Pointer[history] // changes while the generation is active: see rebind.go
	entries entries                 // as written; under Kernel.mu
	inner   map[string]*ebpf.Map
}

func (g *generation) slot() uint32 { return g.number % numSlots }

func (g *generation) close() {
	for _, m := range g.inner {
		m.Close()
	}
}

// outerMaps are the maps of maps, one inner map of each for a generation.
var outerMaps = []string{"objects", "names", "long_names", "basenames", "suffixes", "classes", "vecs", "bounds", "texts", "exe_classes", "digests"}

// Stage builds the tables of p aside. Nothing changes for the running system.
func (k *Kernel) Stage(ctx context.Context, p *ir.Program) (event.Generation, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.gens) >= numSlots-1 {
		return 0, fmt.Errorf("stage generation: %d generations are installed; retire one first", len(k.gens))
	}
	k.lastGen++
	g := &generation{number: k.lastGen, inner: map[string]*ebpf.Map{}}
	if err := k.stage(ctx, g, p); err != nil {
		k.config.Staging = 0
		k.writeConfig()
		k.unslot(g)
		g.close()
		return 0, fmt.Errorf("stage generation %d: %w", g.number, err)
	}
	k.gens[g.number] = g
	return event.Generation(g.number), nil
}

func (k *Kernel) stage(ctx context.Context, g *generation, p *ir.Program) error {
	g.tables = compile(p)
	var before *binding
	if active := k.active.Load(); active != nil {
		before = active.bound()
	}
	b, err := bind(&g.tables.tests, k.identify, before)
	if err != nil {
		return err
	}
	g.bind(b, 0)
	if err := ctx.Err(); err != nil {
		return err
	}
	infos, err := k.exeInfos()
	if err != nil {
		return err
	}
	classes := map[uint32]kernelExeClass{}
	for id, info := range infos {
		classes[id] = k.classOf(g, &info)
	}
	g.entries = g.tables.entriesOf(b)
	if err := k.fill(g, classes); err != nil {
		return err
	}
	if err := k.verify(g); err != nil {
		return err
	}
	k.loadMore(g)
	k.loadDigests(g)
	k.loadWaives(g)
	// From now on the kernel classifies new programs for this generation too;
	// programs that came between the first look and this store are added here.
	k.config.Staging = g.number
	if err := k.writeConfig(); err != nil {
		return err
	}
	return k.fillExes(g, infos)
}

// fillExes adds the classes of programs that are not in known.
func (k *Kernel) fillExes(g *generation, known map[uint32]kernelExeInfo) error {
	infos, err := k.exeInfos()
	if err != nil {
		return err
	}
	for id, info := range infos {
		if _, ok := known[id]; ok {
			continue
		}
		before := len(g.tables.classes)
		c := k.classOf(g, &info)
		if len(g.tables.classes) != before {
			if err := k.growClasses(g, before); err != nil {
				return err
			}
		}
		if err := g.inner["exe_classes"].Update(id, c, ebpf.UpdateNoExist); err != nil && !errors.Is(err, ebpf.ErrKeyExist) {
			return fmt.Errorf("classify program: %w", err)
		}
	}
	return nil
}

// growClasses writes classes and vectors that were made after the tables.
func (k *Kernel) growClasses(g *generation, from int) error {
	if len(g.tables.classes) > int(g.inner["classes"].MaxEntries()) || len(g.tables.vecs) > int(g.inner["vecs"].MaxEntries()) {
		return fmt.Errorf("grow tables: more than %d new classes", spare)
	}
	for i := range g.tables.vecs {
		if err := g.inner["vecs"].Put(uint32(i), g.tables.vecs[i]); err != nil {
			return fmt.Errorf("write vector: %w", err)
		}
	}
	for i := from; i < len(g.tables.classes); i++ {
		if err := g.inner["classes"].Put(uint32(i), g.tables.classes[i]); err != nil {
			return fmt.Errorf("write class: %w", err)
		}
	}
	return nil
}

// entries are the map entries of a binding and the filter in front of them.
type entries struct {
	objects map[kernelFileId]kernelObject
	names   map[kernelNameKey]uint32
	long    map[kernelLongNameKey]uint32
	filter  [1024]uint64  // directories
	files   [16384]uint64 // files
}

func (t *tables) entriesOf(b *binding) entries {
	e := entries{objects: map[kernelFileId]kernelObject{}, names: map[kernelNameKey]uint32{}, long: map[kernelLongNameKey]uint32{}}
	for id, o := range b.objects {
		k := kernelObject{Flags: o.flags}
		if o.flags&objectFile != 0 {
			k.Class = t.wholeClass(o.met, o.paths, o.shell)
			bit := hashIno(id) >> 44
			e.files[bit>>6] |= 1 << (bit & 63)
		}
		if o.flags&objectPrefix != 0 {
			k.Below = t.pathClass(o.below)
		}
		if o.flags&(objectPrefix|objectNames) != 0 {
			bit := hashIno(id) >> 48
			e.filter[bit>>6] |= 1 << (bit & 63)
		}
		e.objects[id] = k
	}
	for n, met := range b.named {
		class := t.wholeClass(met, b.namedBy[n], b.shells[n])
		if len(n.name) < 64 {
			e.names[kernelNameKey{Dir: n.dir, Name: [64]int8(chars(n.name, 64))}] = class
		} else if len(n.name) < 256 {
			e.long[kernelLongNameKey{Dir: n.dir, Name: [256]int8(chars(n.name, 256))}] = class
		}
	}
	return e
}

// hashIno is what places an inode in the filters: walk.h computes the same.
func hashIno(id kernelFileId) uint64 { return id.Ino * 0x9e3779b97f4a7c15 }

func baseNames(paths []string) []string {
	out := make([]string, len(paths))
	for i, p := range paths {
		out[i] = path.Base(p)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func chars(s string, n int) []int8 {
	out := make([]int8, n)
	for i := range min(len(s), n) {
		out[i] = int8(s[i])
	}
	return out
}

func text(c []int8) string {
	b := make([]byte, 0, len(c))
	for _, x := range c {
		if x == 0 {
			break
		}
		b = append(b, byte(x))
	}
	return string(b)
}

// classOf says what class a program has that was executed before: by its
// inode if a rule names it, else by its path.
func (k *Kernel) classOf(g *generation, info *kernelExeInfo) kernelExeClass {
	if info.File.Unresolved != 0 {
		return kernelExeClass{Path: classUnresolved, Name: classWhole}
	}
	if o := g.bound().objects[info.File.Id]; o != nil && o.flags&objectFile != 0 {
		return kernelExeClass{Path: g.tables.wholeClass(o.met, o.paths, o.shell), Name: classWhole}
	}
	within := joinReversed(rawChars(info.Path[:info.PathLen]))
	placed := g.bound().mounts.place(info.File.Id.Dev, within)
	key := boundName{info.File.Dir, path.Base(placed)}
	if met, ok := g.bound().named[key]; ok {
		return kernelExeClass{Path: g.tables.wholeClass(met, g.bound().namedBy[key], g.bound().shells[key]), Name: classWhole}
	}
	// By its names: for a directory that the policy knows by a symlink there
	// are several, and all tests that one of them meets are met.
	var met []truth
	for _, n := range g.bound().names(info.File.Id, placed) {
		met = append(met, g.tables.tests.below(path.Dir(n)+"/"))
	}
	return kernelExeClass{Path: g.tables.pathClass(union(met...)), Name: g.tables.nameClassOf(path.Base(placed))}
}

func rawChars(c []int8) []byte {
	b := make([]byte, len(c))
	for i, x := range c {
		b[i] = byte(x)
	}
	return b
}

func (k *Kernel) exeInfos() (map[uint32]kernelExeInfo, error) {
	out := map[uint32]kernelExeInfo{}
	var id uint32
	var info kernelExeInfo
	it := k.coll.Maps["exe_infos"].Iterate()
	for it.Next(&id, &info) {
		out[id] = info
	}
	if err := it.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return nil, fmt.Errorf("read programs seen: %w", err)
	}
	return out, nil
}

// Activate makes a staged generation the one that decides, by one store.
func (k *Kernel) Activate(gen event.Generation) error {
	number := uint32(gen)
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.gens[number]
	if g == nil {
		return fmt.Errorf("activate generation %d: not staged", number)
	}
	k.attachMore(g)
	k.attachDigests(g)
	k.attachWaives(g)
	k.config.Pass = 0
	k.config.Live |= g.tables.live() // before the rules that need it
	k.config.Rates |= g.tables.rates()
	k.config.Commit |= g.tables.commits()
	k.config.WantEnv |= k.wantEnv(g)
	if err := k.writeConfig(); err != nil {
		return fmt.Errorf("activate generation %d: %w", number, err)
	}
	k.config.Generation = number
	if err := k.writeConfig(); err != nil {
		return fmt.Errorf("activate generation %d: %w", number, err)
	}
	k.active.Store(g)
	// What follows does not undo the change, so it is no error of Activate.
	k.config.Staging = 0
	k.config.Live, k.config.Rates = g.tables.live(), g.tables.rates()
	k.config.WantEnv = k.wantEnv(g) // Commit stays: clauses of the old rules may wait for an exec that is on its way
	if g.tables.passes() && !k.opt.AllOpens {
		k.config.Pass = number
	}
	if err := errors.Join(k.writeConfig(), k.fillExes(g, nil), k.watchOpens(g), k.waives.startOver()); err != nil {
		k.unbound.Add(1)
		k.log.Warn("the new generation is in force, with a flaw", "generation", number, "error", err)
	}
	return nil
}

// wantEnv is 1 if somebody asks for an environment variable.
func (k *Kernel) wantEnv(g *generation) uint32 {
	return uint32(min(1, len(k.opt.Env)+len(g.tables.prog.Env)))
}

// Retire frees the tables of a generation that is not active.
func (k *Kernel) Retire(gen event.Generation) error {
	number := uint32(gen)
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.gens[number]
	if g == nil || k.config.Generation == number {
		return fmt.Errorf("retire generation %d: %w", number, unix.EBUSY)
	}
	delete(k.gens, number)
	err := errors.Join(k.unslot(g), k.dropMore(), k.dropDigests(k.gens), k.dropWaives(k.gens))
	g.close()
	k.forget(number)
	return err
}

// unslot takes a generation out of the outer maps. The kernel waits for
// programs that are still using an inner map before it is freed.
func (k *Kernel) unslot(g *generation) error {
	slot := g.slot()
	var errs []error
	for _, name := range outerMaps {
		if err := k.coll.Maps[name].Delete(slot); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			errs = append(errs, fmt.Errorf("clear %s: %w", name, err))
		}
	}
	if err := k.coll.Maps["slots"].Put(slot, kernelSlot{}); err != nil {
		errs = append(errs, fmt.Errorf("clear slot: %w", err))
	}
	return errors.Join(errs...)
}

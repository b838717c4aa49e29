package bpf

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// moreHooks are the programs of hooks that are loaded and attached only while
// some rule judges them: who has no such rule pays nothing for them.
var moreHooks = map[string]map[event.Hook][]string{
	BackendLSM: {event.HookMmap: {"lsm_mmap", "lsm_mprotect"}, event.HookCreate: {"lsm_mknod", "lsm_symlink"},
		event.HookLink: {"lsm_link"}, event.HookRename: {"lsm_rename"}, event.HookUnlink: {"lsm_unlink"}, event.HookTruncate: {"lsm_truncate"},
		event.HookPtrace: {"lsm_ptrace"}, event.HookReceive: {"lsm_receive"}},
	BackendModifyReturn: {event.HookMmap: {"mod_mmap", "mod_mprotect"}, event.HookCreate: {"mod_mknod", "mod_symlink"},
		event.HookLink: {"mod_link"}, event.HookRename: {"mod_rename"}, event.HookUnlink: {"mod_unlink"}, event.HookTruncate: {"mod_truncate"},
		event.HookPtrace: {"mod_ptrace"}, event.HookReceive: {"mod_receive"}},
}

// more is one such hook: loaded when a generation that needs it is staged,
// attached before that one is active.
type more struct {
	programs map[string]*ebpf.Program
	links    []link.Link
}

func (m *more) close() error {
	var errs []error
	for _, l := range m.links {
		errs = append(errs, l.Close())
	}
	for _, p := range m.programs {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

// moreJudged lists the hooks that rules judge besides those after which the
// packages are named.
func (t *tables) moreJudged() []event.Hook {
	var out []event.Hook
	for _, p := range event.Judged {
		for _, h := range p.Hooks()[1:] {
			if slices.ContainsFunc(t.fitted[p], func(r ir.Rule) bool { return len(r.Clauses) > 0 && r.Judges(h) }) {
				out = append(out, h)
			}
		}
	}
	return out
}

// loadMore loads what a generation needs and this backend can have. A kernel
// without one of these hooks is no reason not to protect by the others: that is
// told and counted. Under k.mu.
func (k *Kernel) loadMore(g *generation) {
	var hooks []event.Hook
	var names []string
	for _, h := range g.tables.moreJudged() {
		if programs := moreHooks[k.backend][h]; len(programs) > 0 && k.more[h] == nil {
			hooks, names = append(hooks, h), append(names, programs...)
		}
	}
	if len(hooks) == 0 {
		return
	}
	// All at once: the kernel's types and symbols are read once for all of them.
	programs, err := k.loadPrograms(names)
	for _, h := range hooks {
		m := &more{programs: map[string]*ebpf.Program{}}
		own := programs
		if err != nil { // one of them is to blame
			var failed error
			if own, failed = k.loadPrograms(moreHooks[k.backend][h]); failed != nil {
				k.hookless.Add(1)
				k.log.Error("rules that judge this hook do not see it", "hook", h.String(), "error", fmt.Errorf("load programs: %w", failed))
				continue
			}
		}
		for _, name := range moreHooks[k.backend][h] {
			m.programs[name] = own[name]
		}
		k.more[h] = m
	}
}

// loadPrograms loads programs that use the maps which are there.
func (k *Kernel) loadPrograms(names []string) (map[string]*ebpf.Program, error) {
	spec, err := k.spec(names)
	if err != nil {
		return nil, err
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: k.coll.Maps})
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	out := map[string]*ebpf.Program{}
	for _, name := range names {
		out[name] = coll.DetachProgram(name)
	}
	return out, nil
}

// attachMore attaches what a generation needs; until that is active no rule says
// anything there. Under k.mu.
func (k *Kernel) attachMore(g *generation) {
	for _, h := range g.tables.moreJudged() {
		m := k.more[h]
		if m == nil || len(m.links) > 0 {
			continue
		}
		if err := k.attachOne(m, moreHooks[k.backend][h], moreActs[h]); err != nil {
			k.hookless.Add(1)
			k.log.Error("rules that judge this hook do not see it", "hook", h.String(), "error", errors.Join(err, m.close()))
			delete(k.more, h)
		}
	}
}

func (k *Kernel) attachOne(m *more, programs []string, act func() error) error {
	for _, name := range programs {
		l, err := attachProgram(m.programs[name])
		if err != nil {
			return fmt.Errorf("attach %s: %w", name, err)
		}
		m.links = append(m.links, l)
	}
	if act == nil {
		return nil
	}
	err := k.testHooks(m.programs, programs, act)
	if errors.Is(err, errNotTested) {
		// The unit that ships lets the agent write nowhere but to its own
		// directories, and map nothing executable.
		k.log.Debug("hook is not self-tested", "programs", programs, "error", err)
		return nil
	}
	return err
}

// dropMore takes off what no generation that may still become active needs.
// Under k.mu.
func (k *Kernel) dropMore() error {
	var errs []error
	for h, m := range k.more {
		needed := false
		for _, g := range k.gens {
			needed = needed || slices.Contains(g.tables.moreJudged(), h)
		}
		if !needed {
			errs = append(errs, m.close())
			delete(k.more, h)
		}
	}
	return errors.Join(errs...)
}

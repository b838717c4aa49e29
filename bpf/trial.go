package bpf

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/cilium/ebpf"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Answer is what the kernel's tables say for one key.
type Answer struct {
	Verdict   event.Verdict // what is certain: deny, alert or allow
	Rule      int           // index of the deciding rule, -1 if none
	Undecided bool          // a deferred rule may hold beyond that
}

const trials = 256

// Try asks the kernel for decisions without any act: the same code that the
// hooks run, driven by keys instead of files and processes. Paths are taken as
// strings: nothing is looked up in a filesystem.
func (k *Kernel) Try(gen event.Generation, h event.Hook, keys []*ir.Key) ([]Answer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.gens[uint32(gen)]
	if g == nil {
		return nil, fmt.Errorf("try generation %d: not staged", gen)
	}
	before := len(g.tables.classes)
	var texts runtime.Pinner // of the keys: the kernel reads them where they are
	defer texts.Unpin()
	rows := make([]kernelTrial, len(keys))
	for i, key := range keys {
		rows[i] = g.trial(h, key)
		addTexts(&rows[i], key, &texts)
	}
	if err := k.growClasses(g, before); err != nil {
		return nil, err
	}
	out := make([]Answer, 0, len(keys))
	for from := 0; from < len(rows); from += trials {
		part := rows[from:min(from+trials, len(rows))]
		if err := k.runTrials(part); err != nil {
			return nil, err
		}
		for i := range part {
			if part[i].Done == 0 {
				return nil, fmt.Errorf("try key %d: the kernel gave no answer", from+i)
			}
			out = append(out, g.answer(h, &part[i]))
		}
	}
	return out, nil
}

func (k *Kernel) runTrials(rows []kernelTrial) error {
	m := k.coll.Maps["trials"]
	keys := make([]uint32, len(rows))
	for i := range keys {
		keys[i] = uint32(i)
	}
	if _, err := m.BatchUpdate(keys, rows, nil); err != nil {
		return fmt.Errorf("write trials: %w", err)
	}
	if len(rows) < trials {
		if err := m.Put(uint32(len(rows)), kernelTrial{}); err != nil {
			return fmt.Errorf("end trials: %w", err)
		}
	}
	p, err := k.trialProgram()
	if err != nil {
		return err
	}
	if _, err := p.Run(&ebpf.RunOptions{}); err != nil {
		return fmt.Errorf("run trials: %w", err)
	}
	var cursor ebpf.MapBatchCursor
	if _, err := m.BatchLookup(&cursor, keys, rows, nil); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("read trials: %w", err)
	}
	return nil
}

// trialProgram loads the program behind Try when it is first asked for: the agent
// never is, and what it does not load it need not wait for.
func (k *Kernel) trialProgram() (*ebpf.Program, error) {
	const name = "decide_trials"
	if p := k.coll.Programs[name]; p != nil {
		return p, nil
	}
	spec, err := loadKernel()
	if err != nil {
		return nil, err
	}
	for n := range spec.Programs {
		if n != name {
			delete(spec.Programs, n)
		}
	}
	for n, m := range k.coll.Maps {
		spec.Maps[n].MaxEntries = m.MaxEntries()
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: k.coll.Maps})
	if err != nil {
		return nil, fmt.Errorf("load program for trials: %w", err)
	}
	defer c.Close()
	k.coll.Programs[name] = c.DetachProgram(name)
	return k.coll.Programs[name], nil
}

// trial turns a key into classes and numbers.
func (g *generation) trial(h event.Hook, key *ir.Key) kernelTrial {
	t := g.tables
	tr := kernelTrial{Generation: g.number, Hook: uint32(h)}
	copy(tr.Num[:], key.Num[:])
	classes := func(f event.FieldID) (uint32, uint32) {
		if key.Unresolved && f == event.FieldPath {
			return classUnresolved, classWhole
		}
		if len(key.Str[f]) == 0 {
			return t.stringClasses("")
		}
		return t.stringClasses(key.Str[f]...)
	}
	tr.ExePath, tr.ExeName = classes(event.FieldExePath)
	tr.ParentPath, tr.ParentName = classes(event.FieldParentPath)
	tr.FilePath, tr.FileName = classes(event.FieldPath)
	tr.Num[event.FieldShell] = classNoShell
	if names := key.Str[event.FieldShell]; len(names) > 0 && names[0] != "" {
		id, _ := t.stringClasses(names...)
		tr.Num[event.FieldShell] = uint64(id)
	}
	tr.Num[event.FieldIdentities] = t.identMask(key.Str[event.FieldIdentities])
	for kind, f := range event.Digests {
		tr.Num[f] = uint64(t.digestOf(kind, key))
	}
	above := key.Above
	if above == nil {
		for _, a := range key.Str[event.FieldAncestors] {
			above = append(above, []string{a})
		}
	}
	for _, names := range above {
		id, _ := t.stringClasses(names...)
		tr.Num[event.FieldAncestors] |= t.classes[id].Ancestor
	}
	return tr
}

// addTexts writes arguments and environment down as an exec does.
func addTexts(tr *kernelTrial, key *ir.Key, pins *runtime.Pinner) {
	block := func(texts []string) (uint64, uint32) {
		var b []byte
		for _, s := range texts {
			b = append(append(b, s...), 0)
		}
		if len(b) == 0 {
			return 0, 0
		}
		pins.Pin(&b[0])
		return uint64(uintptr(unsafe.Pointer(&b[0]))), uint32(len(b))
	}
	tr.Args, tr.ArgsLen = block(key.Str[event.FieldArgs])
	tr.Argc = uint32(len(key.Str[event.FieldArgs]))
	var env []string
	for name, value := range key.Env {
		env = append(env, name+"="+value)
	}
	tr.Env, tr.EnvLen = block(env)
}

func (g *generation) answer(h event.Hook, tr *kernelTrial) Answer {
	a := Answer{Verdict: event.VerdictAllow, Rule: -1, Undecided: tr.Maybe != noClause || tr.LateMaybe != noClause}
	for _, bit := range []uint32{tr.First, tr.Late} {
		if bit == noClause {
			continue
		}
		rule := g.tables.hooks[h-1].bits[bit].rule
		if rules := g.tables.prog.Rules[h]; a.Rule < 0 || rules[rule].Wins(&rules[a.Rule]) {
			a.Rule, a.Verdict = rule, rules[rule].Verdict
		}
	}
	// A rule that is certain is not undecided, whatever its other clauses say:
	// the kernel does not sort that out, user space does.
	return a
}

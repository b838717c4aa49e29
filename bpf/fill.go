package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// fill writes all tables of a generation and puts them into the outer maps.
func (k *Kernel) fill(g *generation, exes map[uint32]kernelExeClass) error {
	t, e := g.tables, &g.entries
	sizes := map[string]int{
		"objects": 2*len(e.objects) + 1024, "names": 2*len(e.names) + 1024, "long_names": 2*len(e.long) + 64,
		"basenames": len(t.basenames) + 1, "suffixes": len(t.suffixes) + 1,
		"classes": len(t.classes) + spare, "vecs": len(t.vecs) + spare, "bounds": len(t.bounds) + 1, "texts": len(t.texts) + 1,
		"exe_classes": 65536, "digests": len(t.digests) + 1,
	}
	for _, name := range outerMaps {
		inner := k.inner[name].Copy()
		inner.MaxEntries = uint32(sizes[name])
		m, err := ebpf.NewMap(inner)
		if err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
		g.inner[name] = m
		if err := k.coll.Maps[name].Put(g.slot(), m); err != nil {
			return fmt.Errorf("store %s: %w", name, err)
		}
	}
	basenames := map[[64]int8]uint32{}
	for n, c := range t.basenames {
		basenames[[64]int8(chars(n, 64))] = c
	}
	suffixes := map[kernelSuffixKey]uint32{}
	for s, c := range t.suffixes {
		rev := make([]byte, len(s))
		for i := range s {
			rev[len(s)-1-i] = s[i]
		}
		suffixes[kernelSuffixKey{Bits: uint32(len(s) * 8), Tail: [24]int8(chars(string(rev), 24))}] = c
	}
	err := errors.Join(
		putAll(g.inner["objects"], e.objects), putAll(g.inner["names"], e.names), putAll(g.inner["long_names"], e.long),
		putAll(g.inner["basenames"], basenames), putEach(g.inner["suffixes"], suffixes),
		putList(g.inner["classes"], t.classes), putList(g.inner["vecs"], t.vecs), putList(g.inner["bounds"], t.bounds),
		putList(g.inner["texts"], t.texts), putAll(g.inner["digests"], t.digests),
		putAll(g.inner["exe_classes"], exes))
	if err != nil {
		return err
	}
	return k.writeSlot(g)
}

// writeSlot stores the constants of a generation.
func (k *Kernel) writeSlot(g *generation) error {
	slot := kernelSlot{Generation: g.number, CommitWords: g.tables.commitWords, Hook: g.tables.conf, Text: g.tables.text, Filter: g.entries.filter, Files: g.entries.files}
	if g.tables.usesNames {
		slot.UsesNames = 1
	}
	if err := k.coll.Maps["slots"].Put(g.slot(), slot); err != nil {
		return fmt.Errorf("write slot: %w", err)
	}
	return nil
}

const batch = 4096

// putAll writes entries in batches.
func putAll[K comparable, V any](m *ebpf.Map, entries map[K]V) error {
	keys, values := make([]K, 0, batch), make([]V, 0, batch)
	flush := func() error {
		if len(keys) == 0 {
			return nil
		}
		if _, err := m.BatchUpdate(keys, values, nil); err != nil {
			return fmt.Errorf("write %s: %w", m, err)
		}
		keys, values = keys[:0], values[:0]
		return nil
	}
	for key, v := range entries {
		keys, values = append(keys, key), append(values, v)
		if len(keys) == batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// putEach is for kinds of maps that take no batches.
func putEach[K comparable, V any](m *ebpf.Map, entries map[K]V) error {
	for key, v := range entries {
		if err := m.Put(key, v); err != nil {
			return fmt.Errorf("write %s: %w", m, err)
		}
	}
	return nil
}

func putList[V any](m *ebpf.Map, values []V) error {
	entries := make(map[uint32]V, len(values))
	for i, v := range values {
		entries[uint32(i)] = v
	}
	return putAll(m, entries)
}

// verify reads back what was written: counts, and every class and vector.
func (k *Kernel) verify(g *generation) error {
	for name, want := range map[string]int{"objects": len(g.entries.objects), "basenames": len(g.tables.basenames), "digests": len(g.tables.digests)} {
		if got := countEntries(g.inner[name]); got != want {
			return fmt.Errorf("verify %s: %d entries, want %d", name, got, want)
		}
	}
	if got := countEntries(g.inner["names"]) + countEntries(g.inner["long_names"]); got != len(g.entries.names)+len(g.entries.long) {
		return fmt.Errorf("verify names: %d entries, want %d", got, len(g.entries.names)+len(g.entries.long))
	}
	for i, want := range g.tables.vecs {
		var got kernelVec
		if err := g.inner["vecs"].Lookup(uint32(i), &got); err != nil || got != want {
			return fmt.Errorf("verify vector %d: differs from what was written (%v)", i, err)
		}
	}
	for i, want := range g.tables.classes {
		var got kernelClass
		if err := g.inner["classes"].Lookup(uint32(i), &got); err != nil || got != want {
			return fmt.Errorf("verify class %d: differs from what was written (%v)", i, err)
		}
	}
	return nil
}

func countEntries(m *ebpf.Map) int {
	n := 0
	key := make([]byte, m.KeySize())
	value := make([]byte, m.ValueSize())
	for it := m.Iterate(); it.Next(&key, &value); {
		n++
	}
	return n
}

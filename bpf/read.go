package bpf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"

	"example.com/bailiff/internal/event"
)

// pollEvery bounds how long a record without a verdict may wait in the ring;
// records with one wake the reader at once.
const pollEvery = 20 * time.Millisecond

// Next blocks until there is an event, the context ends (its error) or the
// kernel side is closed (io.EOF). It is for one goroutine.
func (k *Kernel) Next(ctx context.Context) (*event.Event, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := k.reader.ReadInto(&k.record)
		switch {
		case err == nil:
			ev, err := k.decoder.decode(k.record.RawSample)
			if err != nil {
				k.log.Error("a record was dropped", "error", err)
				k.decoder.damaged.Add(1)
				continue
			}
			return ev, nil
		case errors.Is(err, os.ErrDeadlineExceeded):
			k.reader.SetDeadline(time.Now().Add(pollEvery))
		case errors.Is(err, ringbuf.ErrClosed):
			return nil, io.EOF
		default:
			return nil, fmt.Errorf("read ring buffer: %w", err)
		}
	}
}

// counterNames are the names of the kernel's counters, in the order of enum
// counter in counters.h.
var counterNames = []string{
	"events_exec", "events_fork", "events_open", "events_exit",
	"drop_ring_full_exec", "drop_ring_full_fork", "drop_ring_full_open", "drop_ring_full_exit",
	"denied", "killed",
	"fail_open_context", "fail_open_undecided", "fail_closed_path", "fail_closed_exe",
	"exe_table_full", "cache_hit", "path_cut", "fail_open_tables", "ancestors_cut", "held_changed", "held_given_another", "held_waived", "held_unwaived", "fail_closed_waived", "held_late", "held_unanswered",
	"events_mmap", "events_create", "events_link", "events_rename", "events_unlink", "events_truncate", "events_ptrace", "events_receive",
	"drop_ring_full_mmap", "drop_ring_full_create", "drop_ring_full_link", "drop_ring_full_rename", "drop_ring_full_unlink", "drop_ring_full_truncate", "drop_ring_full_ptrace", "drop_ring_full_receive",
	"fail_closed_text", "digest_computed", "digest_known", "digest_unknown", "vector_lost", "verity_known",
}

// acted is the name of the sum of all acts that were told, or for which there
// was no room in the ring.
const acted = "acts"

// Counters returns what the kernel side counted since Open, by name.
func (k *Kernel) Counters() (map[string]uint64, error) {
	out, err := readCounters(k.coll.Maps["counters"])
	if err != nil {
		return nil, err
	}
	out["rebinds"] = k.rebinds.Load()
	out["fail_open_binding"] = k.unbound.Load()
	out["fail_open_hooks"] = k.hookless.Load()
	out["drop_damaged"] = k.decoder.damaged.Load()
	out["path_unknown"] = k.decoder.unknown.Load()
	out["held_table_full"] = k.heldFull.Load()
	return out, nil
}

func readCounters(m *ebpf.Map) (map[string]uint64, error) {
	out := make(map[string]uint64, len(counterNames)+4)
	for i, name := range counterNames {
		var each []uint64
		if err := m.Lookup(uint32(i), &each); err != nil {
			return nil, fmt.Errorf("read counter %s: %w", name, err)
		}
		for _, n := range each {
			out[name] += n
		}
		if strings.HasPrefix(name, "events_") || strings.HasPrefix(name, "drop_ring_full_") {
			out[acted] += out[name]
		}
	}
	for _, h := range []string{"exec", "fork", "open"} { // in scope, and to be told
		out["seen_"+h] = out["events_"+h] + out["drop_ring_full_"+h]
	}
	return out, nil
}

const verdictEnforced = 0x100 // as in wire.h

// Remember stores a verdict under the event's decision key, for one generation.
// always says that a deny blocks in audit mode, too.
func (k *Kernel) Remember(gen event.Generation, e *event.Event, v event.Verdict, always bool) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	g := k.gens[uint32(gen)]
	if g == nil {
		return nil // retired meanwhile: its verdicts are of no use
	}
	h, ok := e.Handle.(*verdictHandle)
	if !ok || !g.still(h.bound) { // or its files have other names by now
		return fmt.Errorf("remember verdict: no key for this act: %w", errors.ErrUnsupported)
	}
	value := uint32(v)
	if always {
		value |= verdictEnforced
	}
	if err := k.coll.Maps["verdicts"].Put(&h.key, value); err != nil {
		return fmt.Errorf("remember verdict: %w", err)
	}
	return nil
}

// forget removes the verdicts of a generation that is gone.
func (k *Kernel) forget(number uint32) {
	for _, name := range []string{"verdicts", "held"} {
		k.dropVerdicts(name, func(key *kernelVerdictKey) bool { return key.Generation == number })
	}
}

// forgetPaths removes the verdicts about files: what a path is depends on what
// is mounted where, which no key says.
func (k *Kernel) forgetPaths() {
	for _, name := range []string{"verdicts", "held"} {
		k.dropVerdicts(name, func(key *kernelVerdictKey) bool { return key.Path != 0 })
	}
	if err := k.waives.askAgain(); err != nil {
		k.log.Warn("questions at the gate stay waived for now", "error", err)
	}
}

func (k *Kernel) dropVerdicts(name string, gone func(*kernelVerdictKey) bool) {
	m := k.coll.Maps[name]
	var key kernelVerdictKey
	var list []kernelVerdictKey
	value := make([]byte, m.ValueSize())
	for it := m.Iterate(); it.Next(&key, &value); {
		if gone(&key) {
			list = append(list, key)
		}
	}
	for i := range list {
		if err := m.Delete(&list[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			k.log.Warn("a stale verdict stays", "map", name, "error", err)
		}
	}
}

package bpf

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
)

// maxTickets is how many verdicts for one exec are out at a time. One that is
// not used, because the exec failed for another reason, goes when it is the
// oldest: then its process is asked about anew.
const maxTickets = 4096

// tickets remembers in which order they were given out.
type tickets struct {
	mu    sync.Mutex
	order []kernelTicketKey // a ring
	next  int
}

func (t *tickets) put(m *ebpf.Map, key kernelTicketKey, v *kernelHeldVerdict) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) < maxTickets {
		t.order = append(t.order, key)
	} else {
		if err := m.Delete(&t.order[t.next]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("take back ticket: %w", err)
		}
		t.order[t.next] = key
		t.next = (t.next + 1) % maxTickets
	}
	return m.Put(&key, v)
}

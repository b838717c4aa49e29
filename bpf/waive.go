package bpf

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"

	"example.com/bailiff/internal/event"
)

// waives are the files about which the gate is not asked because the kernel knows the
// answers: see waive.h.
type waives struct {
	k *Kernel

	mu     sync.Mutex
	epoch  uint32               // of the kernel's map, while attached
	flush  func() error         // takes all waivers back
	taken  map[kernelFileId]int // how often a file's was taken back because of an exec of it
	more   *more                // the program, while it is attached
	loaded *more
	reader *ringbuf.Reader
	wg     sync.WaitGroup
}

const (
	// maxTaken is how often that may be: who is executed under several keys, as a shell
	// is, is asked about each time from then on, and does not make others wait.
	maxTaken = 3
	// maxCounted bounds files that are counted; then all may be tried again.
	maxCounted = 4096
)

// WaiveBy tells the kernel side how waivers of questions are taken back, all at once.
// Without it none is given.
func (k *Kernel) WaiveBy(flush func() error) {
	w := &k.waives
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush = flush
}

// WaiveAtGate gives a waiver for the file of an event of AtGate, by mark, if the kernel
// knows the answer to the same question and looks for it before each exec of that file.
func (k *Kernel) WaiveAtGate(ev *event.Event, mark func() error) error {
	h, ok := ev.Handle.(*heldHandle)
	w := &k.waives
	if !ok || !h.stored {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.more == nil || w.flush == nil || w.taken[h.ticket.File] >= maxTaken {
		return nil
	}
	// First: while there is a mark the hook looks.
	if err := k.coll.Maps["waived"].Put(&h.ticket.File, w.epoch); err != nil {
		// Most are of epochs that are over.
		return fmt.Errorf("waive question: %w", errors.Join(err, w.renew(), w.forget()))
	}
	if err := mark(); err != nil {
		return fmt.Errorf("waive question: %w", err)
	}
	return nil
}

// renew takes all waivers back. Under w.mu.
func (w *waives) renew() error {
	if w.more == nil {
		return nil
	}
	if w.flush != nil {
		if err := w.flush(); err != nil {
			return fmt.Errorf("take waivers back: %w", err)
		}
	}
	// What waits for this asks now.
	w.epoch++
	if w.epoch == 0 {
		w.epoch = 1
	}
	return w.k.coll.Maps["waive_epoch"].Put(uint32(0), w.epoch)
}

// forget empties the list of files; none of them is waived. Under w.mu.
func (w *waives) forget() error {
	m := w.k.coll.Maps["waived"]
	var keys []kernelFileId
	var key kernelFileId
	var epoch uint32
	it := m.Iterate()
	for it.Next(&key, &epoch) {
		keys = append(keys, key)
	}
	errs := []error{it.Err()}
	for i := range keys {
		errs = append(errs, m.Delete(&keys[i]))
	}
	return errors.Join(errs...)
}

// needsWaives reports whether some verdict of the gate has a key.
func (t *tables) needsWaives() bool {
	hc := &t.conf[event.HookExec-1]
	return hc.HeldKey != 0 && hc.HeldKey&(keyNone|keyGiven) == 0
}

// loadWaives loads the program for a generation that needs it; where the kernel does
// not take it the gate is asked each time. Under k.mu.
func (k *Kernel) loadWaives(g *generation) {
	w := &k.waives
	if w.loaded != nil || k.backend != BackendLSM || !g.tables.needsWaives() {
		return
	}
	programs, err := k.loadPrograms([]string{"lsm_waive"})
	if err != nil {
		k.log.Info("the gate is asked about each exec", "error", err)
		return
	}
	w.loaded = &more{programs: programs}
}

// attachWaives attaches it before a generation that needs it is active. Under k.mu.
func (k *Kernel) attachWaives(g *generation) {
	w := &k.waives
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.loaded == nil || w.more != nil || !g.tables.needsWaives() {
		return
	}
	err := func() (err error) {
		l, err := attachProgram(w.loaded.programs["lsm_waive"])
		if err != nil {
			return err
		}
		w.loaded.links = append(w.loaded.links, l)
		if w.reader, err = ringbuf.NewReader(k.coll.Maps["unwaive"]); err != nil {
			return err
		}
		w.more = w.loaded
		return w.renew()
	}()
	if err != nil {
		k.log.Info("the gate is asked about each exec", "error", errors.Join(err, w.close()))
		return
	}
	w.wg.Add(1)
	go w.follow(w.reader)
}

// follow takes waivers back when somebody must be asked about again.
func (w *waives) follow(r *ringbuf.Reader) {
	defer w.wg.Done()
	for {
		rec, err := r.Read()
		if err != nil {
			return // closed
		}
		var id kernelFileId
		if len(rec.RawSample) < int(unsafe.Sizeof(id)) {
			continue
		}
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&id)), unsafe.Sizeof(id)), rec.RawSample)
		w.mu.Lock()
		if w.taken == nil || len(w.taken) >= maxCounted {
			w.taken = map[kernelFileId]int{}
		}
		w.taken[id]++
		if err := w.renew(); err != nil {
			w.k.log.Warn("questions at the gate stay waived for now", "error", err)
		}
		w.mu.Unlock()
	}
}

// startOver is when another generation decides: no answer is known.
func (w *waives) startOver() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.taken = nil
	return errors.Join(w.renew(), w.forget())
}

// askAgain is when verdicts about files are thrown away.
func (w *waives) askAgain() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.renew()
}

// dropWaives takes the program off if none of these generations needs it. Under k.mu.
func (k *Kernel) dropWaives(gens map[uint32]*generation) error {
	for _, g := range gens {
		if g.tables.needsWaives() {
			return nil
		}
	}
	w := &k.waives
	w.mu.Lock()
	err := w.close()
	w.mu.Unlock()
	w.wg.Wait()
	return err
}

// close takes all waivers back, and then what they rest on. Under w.mu.
func (w *waives) close() error {
	err := errors.Join(w.renew(), w.forget())
	if w.reader != nil {
		err = errors.Join(err, w.reader.Close())
	}
	if w.loaded != nil {
		err = errors.Join(err, w.loaded.close())
	}
	w.more, w.loaded, w.reader = nil, nil, nil
	return err
}

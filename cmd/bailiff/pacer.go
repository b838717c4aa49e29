package main

import (
	"cmp"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// A process that loads a bundle may take this much memory before the collector
// runs: some, and a share of the size of the files. It is what keeps 1,000 rules
// with 100,000 entries below 150 MiB, of agent and of child.
const (
	paceBase    = 56 << 20 // bytes
	paceChild   = 76 << 20 // for the child: it has nothing else to keep
	pacePerByte = 9
)

// pacer decides when the collector runs while bundles are loaded. Nearly all
// that a compiler takes is garbage soon, in a heap that grows from little to
// much: left to itself the collector would run 15 times, and held to a tight
// limit it would take more of the processors than the compiler. So it does not
// run at all below a bound; if too much of that turns out to be in use the bound
// gives way. The zero value is usable.
type pacer struct {
	base int64 // bytes; 0: paceBase
	most int64 // bytes that the bound never exceeds; 0: there is no such limit

	mu      sync.Mutex
	users   int
	bound   int64 // bytes; 0: the collector runs as it does else
	percent int   // what GOGC was, and the memory limit
	limit   int64
}

// begin says that a bundle with files of this size, in bytes, is loaded until
// end is called; 0: the size is not known yet.
func (p *pacer) begin(bytes int64) (end func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users++
	if bytes > 0 {
		p.raise(cmp.Or(p.base, paceBase) + pacePerByte*bytes)
	}
	return sync.OnceFunc(p.end)
}

func (p *pacer) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users--; p.users > 0 || p.bound == 0 {
		return
	}
	p.bound = 0
	debug.SetGCPercent(p.percent)
	debug.SetMemoryLimit(p.limit)
	debug.FreeOSMemory()
}

func (p *pacer) raise(to int64) {
	if p.most > 0 {
		to = min(to, p.most)
	}
	if to <= p.bound {
		return
	}
	if p.bound == 0 {
		p.limit = debug.SetMemoryLimit(to)
		p.percent = debug.SetGCPercent(-1)
		p.watch()
	}
	p.bound = to
	debug.SetMemoryLimit(to)
}

// watch calls collected after the collector's next run: what nothing refers to
// is found by it.
func (p *pacer) watch() { runtime.AddCleanup(new([64]byte), (*pacer).collected, p) }

func (p *pacer) collected() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bound == 0 {
		return
	}
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	n := int64(live[0].Value.Uint64())
	p.raise(n + n/3 + 16<<20)
	p.watch()
}

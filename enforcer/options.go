package enforcer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/internal/event"
)

// Options is what an Enforcer is made of. Kernel and Policy are required; a
// zero in the rest means the default that is named.
type Options struct {
	Kernel Kernel
	Policy Policy      // the first one, installed when Run begins
	Modes  event.Modes // the first ones
	Sinks  []Sink      // called in this order
	// Redact returns an event as the sinks may have it: the one that it is
	// given or a copy. It runs when the verdict stands. Default: as it is.
	Redact func(*event.Event) *event.Event
	// Evaluated is told how long the policy took for one act, whatever came of
	// it. It must not block. Default: nobody.
	Evaluated func(h event.Hook, took time.Duration)
	Killer    Killer // for late denies of rules that ask for it; default PidfdKiller
	// Digest computes SHA-256, in hex, of the program that is open as fd, for
	// rules that are held; writers are kept out until the exec has begun.
	Digest func(ctx context.Context, fd int) (string, error)
	// Verity returns the fs-verity digest of that program, which is on a filesystem
	// with that magic number, as event.File has it; "" if it has none.
	Verity func(fd int, magic uint64) (string, error)
	// Given returns what thread tid is about to give the program that is open as fd.
	Given   func(ctx context.Context, fd int, tid int32, want event.GivenParts) (event.Given, error)
	Hold    func(on bool) // told before and after each change whether any rule has execs held; may be nil
	Log     hclog.Logger
	Backend string           // for Status: lsm, modify-return or tracepoint
	Scope   []string         // for Status: cgroup paths, empty for the whole machine
	Now     func() time.Time // default time.Now; stamps notices, conditions and the process tree

	StepDown    StepDown      // default never
	Workers     int           // policy evaluations at a time; default 2
	Queue       int           // undecided acts that may wait for a worker, and as many re-checks; default 1024
	Pipeline    int           // events between the ring and the sinks; default 8192
	Deadline    time.Duration // from reading an event to giving up on its verdict; default 250 ms
	CacheSize   int           // verdicts kept for a generation; default 8192
	Processes   int           // process images kept in the tree; default 16384
	SampleEvery uint64        // every n-th allowed act is re-checked by the policy; default never
	PollEvery   time.Duration // how often kernel counters are read; default 1 s
	DrainFor    time.Duration // after the context ended, how long without an event until the ring counts as read; default 100 ms
}

// Enforcer is the loop and the transaction. Its methods may be called from any
// goroutine, before, during and after Run.
type Enforcer struct {
	Options
	log      hclog.Logger
	started  time.Time
	counts   counters
	tree     *tree
	health   *health
	ran      atomic.Bool
	ready    chan struct{}
	behindAt int // pipeline length from which nothing waits for the engine

	sums digests // of programs, as the gate judged them

	order   chan item     // from the reader to the emitter
	hurry   chan struct{} // tells a waiting emitter to look at the pipeline
	judge   chan *task    // undecided acts, to the workers
	recheck chan *task    // decided acts, to the workers
	seen    uint64        // judged events since the last sample; the reader's own
	lag     atomic.Int64  // how old the last event was when it was read, ns

	emitMu sync.Mutex // one event at a time through the sinks
	seq    uint64     // under emitMu
	noted  uint64     // how many of them are notices; under emitMu

	overMu sync.RWMutex // held by workers while they act on an answer
	over   bool         // Run is about to return

	changeMu sync.Mutex // one policy or mode change at a time
	unfreed  []Generation
	active   atomic.Pointer[installed]
	modes    atomic.Pointer[event.Modes]
	gensMu   sync.RWMutex
	gens     map[Generation]*installed
	genOrder []Generation

	steps   *stepper
	surveys chan struct{} // asks for one

	poll pollState // the poller's own
}

// New checks the options and fills in the defaults. It touches nothing: Run
// does.
func New(o Options) (*Enforcer, error) {
	switch {
	case o.Kernel == nil:
		return nil, errors.New("make enforcer: no kernel")
	case o.Policy == nil:
		return nil, errors.New("make enforcer: no policy")
	}
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Killer == nil {
		o.Killer = PidfdKiller{}
	}
	def(&o.Workers, 2)
	def(&o.Queue, 1024)
	def(&o.Pipeline, 8192)
	def(&o.Deadline, 250*time.Millisecond)
	def(&o.CacheSize, 8192)
	def(&o.Processes, 16384)
	def(&o.PollEvery, time.Second)
	def(&o.DrainFor, 100*time.Millisecond)
	e := &Enforcer{
		Options:  o,
		log:      o.Log.Named("enforcer"),
		started:  o.Now(),
		tree:     newTree(o.Processes),
		health:   newHealth(),
		ready:    make(chan struct{}),
		behindAt: max(1, o.Pipeline/2),
		order:    make(chan item, o.Pipeline),
		hurry:    make(chan struct{}, 1),
		judge:    make(chan *task, o.Queue),
		recheck:  make(chan *task, o.Queue),
		gens:     map[Generation]*installed{},
		steps:    newStepper(o.StepDown),
		surveys:  make(chan struct{}, 1),
	}
	modes := o.Modes.Clone()
	e.modes.Store(&modes)
	return e, nil
}

func def[T int | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// Package enforcer is the loop and the transaction of the agent: it takes
// events from the kernel, completes their decisions, keeps the process tree,
// and changes policy and mode without a moment in which neither the old nor the
// new one is in force. It knows the kernel, the policy engine and the ways out
// only by the small interfaces below.
package enforcer

import (
	"context"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Generation numbers one installed rule program; 0 is none. It is an alias so
// that the kernel side, which does not import this package, can be a Kernel.
type Generation = event.Generation

// Kernel is what the enforcer needs of the kernel side. *bpf.Kernel is the
// real one.
type Kernel interface {
	// Stage builds the tables of a program aside and checks them. Nothing
	// changes for the running system.
	Stage(ctx context.Context, p *ir.Program) (Generation, error)
	// Activate makes a staged generation the one that decides, by one store.
	Activate(Generation) error
	// Retire frees the tables of a generation that is no longer active.
	Retire(Generation) error
	// SetModes says where deny verdicts block: for all, and for cgroups, each
	// change by one store. The modes of rules come with the program.
	SetModes(event.Modes) error
	// Remember stores a verdict for everything that shares the event's
	// decision key, for this generation only; always: a deny blocks in audit
	// mode, too. errors.ErrUnsupported says that the kernel does not hold
	// every field of the key.
	Remember(g Generation, e *event.Event, v event.Verdict, always bool) error
	// Next blocks until there is an event, the context ends or the kernel
	// side is closed (io.EOF). The event's Decision has verdict, effect,
	// source, mode, generation, rule and revision as the kernel took them.
	Next(ctx context.Context) (*event.Event, error)
	// Counters returns what the kernel side counted since it was opened, by
	// name: events_<hook>, drop_<reason>, fail_open_<reason>; and acts, the sum
	// of those that were told and those for which there was no room.
	Counters() (map[string]uint64, error)
}

// Detacher is a Kernel that can stop to tell while what it told is still read.
type Detacher interface {
	// Detach takes the hooks off: nothing is denied or told any more.
	Detach() error
}

// Weakener is a Kernel that may hold less of a rule than the program says.
type Weakener interface {
	// Weakened lists the rules of a staged generation of which the kernel
	// leaves more to user space than their clauses say: indexes into
	// Program.Rules, by hook. The policy's decision key does not cover what
	// was left out, so nothing is remembered for such a hook.
	Weakened(Generation) map[event.Hook][]int
}

// Settler is a Kernel that follows the files which the policy names.
type Settler interface {
	// Settled reports whether no name of the policy came to mean another file at
	// about a time, in nanoseconds after boot. It may wait for a moment.
	Settled(boot uint64) bool
}

// Policy is one compiled bundle revision. It is immutable and safe for
// concurrent use. *policy.Policy is the real one.
type Policy interface {
	// Decide asks OPA for the whole answer on one event: verdict, deciding
	// rule, other rules that fired, message. It does not set effect and source.
	Decide(context.Context, *event.Event) (event.Decision, error)
	Program() *ir.Program
	Revision() string
	// KeyOf returns the event's decision key for the deferred rules of its
	// hook: exactly the fields that they read, encoded. ok is false when the
	// answer may not be cached (it reads time, or all of input).
	KeyOf(*event.Event) (key string, ok bool)
}

// Rechecker is a Policy that can check an act that the kernel has judged for
// less than Decide takes: there may be a flood of them.
type Rechecker interface {
	Recheck(context.Context, *event.Event) (event.Decision, error)
}

// Sink takes finished events. Emit must not block and must not keep e's memory
// beyond what it copies; events are not changed after Emit.
type Sink interface{ Emit(e *event.Event) }

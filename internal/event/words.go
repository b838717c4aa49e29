// Package event is Bailiff's vocabulary: what happened, to whom, and what was
// decided about it. Every other package speaks in these types; this one
// imports nothing but the standard library.
package event

import "fmt"

// Hook is the place in the kernel where an act is seen.
type Hook uint8

// The values are wire values: bpf/wire.h has the same numbers.
const (
	HookNone Hook = iota
	HookExec      // a program image is about to replace the caller's
	HookFork      // a new process (never a thread) is about to exist
	HookOpen      // a file is about to be opened
	HookExit      // a process has ended; reported, never judged
	HookMmap      // a file is about to be mapped executable; the rules on exec judge it
	// What changes a file or its name without an open: the rules on open judge it.
	HookCreate   // a name is about to be made, of a file of any kind but a directory
	HookLink     // a file is about to get another name
	HookRename   // a file or directory is about to be moved
	HookUnlink   // a name is about to be removed
	HookTruncate // a file is about to be cut by its name
	HookPtrace   // a process is about to be attached to; the rules on open judge it by the program it runs
	HookReceive  // a descriptor is about to be taken from another process; the rules on open judge it
)

var hookNames = []string{"none", "exec", "fork", "open", "exit", "mmap", "create", "link", "rename", "unlink", "truncate", "ptrace", "receive"}

// Judged lists the hooks that packages of rules are named after, in wire order.
var Judged = []Hook{HookExec, HookFork, HookOpen}

// Package is the hook after which the package is named whose rules judge an act.
func (h Hook) Package() Hook {
	switch {
	case h == HookMmap:
		return HookExec
	case h.Changes(), h == HookPtrace, h == HookReceive:
		return HookOpen
	}
	return h
}

// HasOpenFlags reports whether the act is judged by how it opens a file, or as the
// open that would do the same.
func (h Hook) HasOpenFlags() bool { return h.Package() == HookOpen && h != HookPtrace }

// Changes reports whether the act changes a file or its name without an open.
func (h Hook) Changes() bool { return h >= HookCreate && h <= HookTruncate }

// Hooks lists the hooks that the rules of a package judge, itself first.
func (h Hook) Hooks() []Hook {
	out := []Hook{h}
	for o := range Hook(len(hookNames)) {
		if o != h && o.Package() == h {
			out = append(out, o)
		}
	}
	return out
}

func (h Hook) String() string                { return nameOf(hookNames, h) }
func (h Hook) MarshalText() ([]byte, error)  { return []byte(h.String()), nil }
func (h *Hook) UnmarshalText(b []byte) error { return parse(hookNames, b, h) }

// Verdict is the answer of the policy to one act.
type Verdict uint8

// Deny overrides alert, alert overrides allow. None means that nobody was asked
// (out of scope, in the rescue set, or a hook that is only reported).
const (
	VerdictNone Verdict = iota
	VerdictAllow
	VerdictAlert
	VerdictDeny
)

var verdictNames = []string{"none", "allow", "alert", "deny"}

func (v Verdict) String() string                { return nameOf(verdictNames, v) }
func (v Verdict) MarshalText() ([]byte, error)  { return []byte(v.String()), nil }
func (v *Verdict) UnmarshalText(b []byte) error { return parse(verdictNames, b, v) }

// Effect is what was done about an act.
type Effect uint8

// The effects.
const (
	EffectNone    Effect = iota
	EffectRefused        // the system call returned -EPERM
	EffectKilled         // SIGKILL; for exec, before the first instruction of the new image
	EffectHeld           // kept waiting at the gate
)

var effectNames = []string{"none", "refused", "killed", "held"}

func (e Effect) String() string                { return nameOf(effectNames, e) }
func (e Effect) MarshalText() ([]byte, error)  { return []byte(e.String()), nil }
func (e *Effect) UnmarshalText(b []byte) error { return parse(effectNames, b, e) }

// Source is who answered.
type Source uint8

// The sources.
const (
	SourceNone    Source = iota
	SourceTable          // the active generation's kernel tables
	SourceCache          // a verdict that user space had put into the kernel before
	SourceEngine         // OPA in user space, after the act
	SourceGate           // OPA in user space, while the act was held
	SourceDefault        // nobody could answer: the declared default
)

var sourceNames = []string{"none", "table", "cache", "engine", "gate", "default"}

func (s Source) String() string                { return nameOf(sourceNames, s) }
func (s Source) MarshalText() ([]byte, error)  { return []byte(s.String()), nil }
func (s *Source) UnmarshalText(b []byte) error { return parse(sourceNames, b, s) }

// Generation numbers one installed rule program; 0 is none.
type Generation uint32

// Mode says whether deny verdicts block.
type Mode uint8

const (
	ModeAudit   Mode = iota // deny verdicts are recorded as would_deny
	ModeEnforce             // deny verdicts block
)

var modeNames = []string{"audit", "enforce"}

func (m Mode) String() string                { return nameOf(modeNames, m) }
func (m Mode) MarshalText() ([]byte, error)  { return []byte(m.String()), nil }
func (m *Mode) UnmarshalText(b []byte) error { return parse(modeNames, b, m) }

// ParseMode returns the mode of that name; the error lists the names.
func ParseMode(s string) (m Mode, err error) { return m, m.UnmarshalText([]byte(s)) }

// ParseHook returns the hook of that name; the error lists the names.
func ParseHook(s string) (h Hook, err error) { return h, h.UnmarshalText([]byte(s)) }

// ParseVerdict returns the verdict of that name; the error lists the names.
func ParseVerdict(s string) (v Verdict, err error) { return v, v.UnmarshalText([]byte(s)) }

func nameOf[T ~uint8](names []string, v T) string {
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("unknown(%d)", uint8(v))
}

func parse[T ~uint8](names []string, b []byte, out *T) error {
	for i, n := range names {
		if n == string(b) {
			*out = T(i)
			return nil
		}
	}
	return fmt.Errorf("parse %q: want one of %v", b, names)
}

// Package gate holds execs until somebody has judged them: fanotify groups, one for
// local and one for network filesystems, with permission events for opens that are
// meant for execution, and nothing else (no other open is touched). It knows how to
// hold and to let go; what the answer is, a Judge says.
//
// A gate must never hang a machine. So:
//
//   - every question has a deadline, kept by a timer of its own, after which
//     the answer that the Judge declared beforehand is given;
//   - the answer is written before anything else is done about the exec;
//   - a worker that does not come back is replaced, at most a few times;
//   - after several misses in a row a breaker opens: for a while every exec gets
//     its declared answer at once, and the owner is told;
//   - threads of the agent itself are never asked about;
//   - whatever ends the agent closes the group, and with it the kernel lets
//     every exec go that waits.
package gate

import "context"

// Judge says what is to be done with an exec that waits. Its methods are called
// by several goroutines at a time. They must not open files on a filesystem
// for execution, nor start programs.
type Judge interface {
	// Look says what is known without asking the policy: thread tid (initial
	// pid namespace) is about to execute the file that the agent has open as
	// fd. nil lets the exec go on. It must not block.
	Look(fd int, tid int32) Case
}

// Case is one exec that has to be judged.
type Case interface {
	// Default reports whether the exec may go on when there is no answer.
	Default() bool
	// Judge answers. When ctx ends the gate has given the default already; an
	// answer after that only serves the next exec.
	Judge(ctx context.Context) Answer
	// Waive is called after an exec was let go because the Judge allowed it. With mark
	// the gate is not asked about the file any more, whoever executes it, until Forget or
	// until the file is written to.
	Waive(mark func() error)
	// Barred reports whether Judge waits for the file at the moment, as for its
	// content: what its owner may make last does not count for the breaker.
	Barred() bool
	// Done is called after the gate has let go of the exec, with what it did.
	Done(Outcome)
}

// Answer is a verdict of the Judge.
type Answer struct {
	Known bool // false: there is no answer, the default stands
	Allow bool
	// Barred: nobody can answer about this file. That is no sign of trouble: it
	// does not count for the breaker, which a file's owner could open else.
	Barred bool
}

// Outcome is how an exec left the gate.
type Outcome struct {
	Allowed bool
	Loader  bool // it was no exec, but the loader of a program that was let pass
	Reason  string
}

// Reasons in an Outcome; "" is an answer of the Judge.
const (
	ReasonDeadline = "deadline" // no answer in time
	ReasonBreaker  = "breaker"  // nobody was asked: too many misses before
	ReasonError    = "error"    // the Judge had no answer
	ReasonFile     = "file"     // the file is such that there is none
)

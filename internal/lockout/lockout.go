// Package lockout asks a policy, before it is put in force, about the acts
// without which nobody could mend it: those of init, of the agent, of the
// package manager and of root's login.
package lockout

import (
	"context"
	"fmt"
	"strings"

	"example.com/bailiff/internal/event"
)

// Decider answers for one act as OPA does. *policy.Policy is the real one.
type Decider interface {
	Decide(context.Context, *event.Event) (event.Decision, error)
}

// Act is one act that must stay possible.
type Act struct {
	Who   string // init, the agent, the package manager, root's login
	Event *event.Event
}

// String says what the act is: "init executes /usr/sbin/sshd".
func (a Act) String() string {
	e := a.Event
	actor := e.Process.Exe.Path
	switch e.Hook {
	case event.HookFork:
		return actor + " forks"
	case event.HookMmap:
		return fmt.Sprintf("%s maps %s executable", actor, e.File.Path)
	case event.HookPtrace:
		return fmt.Sprintf("%s attaches to %s", actor, e.File.Path)
	case event.HookReceive:
		return fmt.Sprintf("%s is given %s (%s)", actor, e.File.Path, strings.Join(e.Open, ", "))
	case event.HookOpen:
		return fmt.Sprintf("%s opens %s (%s)", actor, e.File.Path, strings.Join(e.Open, ", "))
	}
	if e.Hook.Changes() {
		return fmt.Sprintf("%s: %s of %s", actor, e.Hook, e.File.Path)
	}
	return fmt.Sprintf("%s executes %s", actor, e.File.Path)
}

// Finding is an act that the policy would deny.
type Finding struct {
	Act  Act
	Rule event.RuleRef
}

// String names act and rule.
func (f Finding) String() string {
	return fmt.Sprintf("rule %s (%s:%d) would deny: %s: %s", f.Rule.ID, f.Rule.File, f.Rule.Line, f.Act.Who, f.Act)
}

// Blocks reports whether a deny of a rule is acted upon in a cgroup.
type Blocks func(rule *event.RuleRef, cgroup string) bool

// Check asks the policy about every act; each act and rule is found once. An
// act that the policy cannot judge is an error: nobody knows what it would do.
func Check(ctx context.Context, d Decider, acts []Act, blocks Blocks) ([]Finding, error) {
	var out []Finding
	for _, a := range acts {
		got, err := d.Decide(ctx, a.Event)
		if err != nil {
			return nil, fmt.Errorf("ask about %q: %w", a.Who+": "+a.String(), err)
		}
		if got.Verdict != event.VerdictDeny {
			continue
		}
		fired := got.Others
		if got.Rule != nil {
			fired = append([]event.RuleRef{*got.Rule}, fired...)
		}
		for i := range fired {
			if blocks(&fired[i], a.Event.Process.Cgroup) {
				out = append(out, Finding{a, fired[i]})
				break
			}
		}
	}
	return out, nil
}

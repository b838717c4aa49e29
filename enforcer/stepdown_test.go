package enforcer

import (
	"fmt"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

func blockedExec(rule, severity, program, cgroup string, uid uint32) *event.Event {
	return &event.Event{Hook: event.HookExec, Process: event.Process{Cgroup: cgroup, Exe: event.File{Path: "/bin/sh"}},
		File: &event.File{Path: program, UID: uid, Nlink: 1, Mode: 0o100755, DirMode: 0o40755},
		Decision: event.Decision{Verdict: event.VerdictDeny, Effect: event.EffectRefused, Mode: event.ModeEnforce,
			Rule: &event.RuleRef{ID: rule, Severity: severity}}}
}

func TestStepperCounts(t *testing.T) {
	start := time.Unix(1000, 0)
	asked := func(s *stepper) int { return len(s.asked) }
	for name, c := range map[string]struct {
		see  func(s *stepper, i int)
		want int
	}{
		"many programs":      {func(s *stepper, i int) { s.see(blockedExec("r", "", fmt.Sprint("/usr/bin/", i), "/a", 0), start) }, 1},
		"one program":        {func(s *stepper, i int) { s.see(blockedExec("r", "", "/usr/bin/x", "/a", 0), start) }, 0},
		"programs of a user": {func(s *stepper, i int) { s.see(blockedExec("r", "", fmt.Sprint("/usr/bin/", i), "/a", 7), start) }, 0},
		"a critical rule": {func(s *stepper, i int) {
			s.see(blockedExec("r", "critical", fmt.Sprint("/usr/bin/", i), "/a", 0), start)
		}, 0},
		"a rule that never does": {func(s *stepper, i int) { s.see(blockedExec("never", "", fmt.Sprint("/usr/bin/", i), "/a", 0), start) }, 0},
		"rules apart": {func(s *stepper, i int) {
			s.see(blockedExec(fmt.Sprint(i), "", fmt.Sprint("/usr/bin/", i), "/a", 0), start)
		}, 0},
		"slowly": {func(s *stepper, i int) {
			s.see(blockedExec("r", "", fmt.Sprint("/usr/bin/", i), "/a", 0), start.Add(time.Duration(i)*20*time.Second))
		}, 0},
		"many services": {func(s *stepper, i int) {
			s.see(blockedExec("r", "", "/usr/bin/x", fmt.Sprintf("/s.slice/%d.service/w", i), 0), start)
		}, 1},
		"parts of one service": {func(s *stepper, i int) {
			s.see(blockedExec("r", "", "/usr/bin/x", fmt.Sprintf("/s.slice/a.service/%d", i), 0), start)
		}, 0},
		"many sessions of a user": {func(s *stepper, i int) {
			s.see(blockedExec("r", "", "/x", fmt.Sprintf("/user.slice/user-7.slice/session-%d.scope", i), 0), start)
		}, 0},
		"would be denied, in audit": {func(s *stepper, i int) {
			ev := blockedExec("r", "", fmt.Sprint("/usr/bin/", i), "/a", 0)
			ev.Decision.Effect = event.EffectNone
			s.see(ev, start)
		}, 0},
	} {
		s := newStepper(StepDown{Programs: 5, Cgroups: 5, Never: []string{"never"}})
		for i := range 5 {
			c.see(s, i)
		}
		if n := asked(s); n != 0 {
			t.Errorf("%s: stepped down after five", name)
		}
		for i := range 40 {
			c.see(s, i+5)
		}
		if n := asked(s); n != c.want {
			t.Errorf("%s: asked %d times, want %d", name, n, c.want)
		}
	}
}

// TestStepDown shows the whole way, and back.
func TestStepDown(t *testing.T) {
	r := start(t, simple("r1"), func(o *Options) { o.StepDown = StepDown{Cgroups: 2} })
	deny := func(i int) {
		ev := execOf(int32(10+i), "/bad")
		ev.Process.Cgroup = fmt.Sprintf("/s/%d.service", i)
		r.kernel.act(ev)
	}
	for i := range 3 {
		deny(i)
	}
	waitFor := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not so after 10 s", what)
			}
		}
	}
	waitFor("condition", func() bool { return r.raised(CondSteppedDown) })
	id := ""
	for rule, m := range r.Modes().Rules {
		if id = rule; m != event.ModeAudit {
			t.Errorf("mode of %s is %s", rule, m)
		}
	}
	n := r.sink.notices(NoticeStepDown)
	if len(n) != 1 || n[0].Fields["rule"] != id || n[0].Fields["cgroups"] != "3" {
		t.Errorf("notices %v, rule %q", n, id)
	}
	r.sink.waitActs(t, 3)
	deny(4)
	r.sink.waitActs(t, 4)
	if d := r.sink.acts()[3].Decision; !d.WouldDeny() || d.ModeBy != event.ByRule {
		t.Errorf("after stepping down: %+v", d)
	}
	// The operator restores the rule: the condition ends.
	if _, err := r.ChangeModes(t.Context(), ModeChange{By: "test", Change: func(m *event.Modes) { delete(m.Rules, id) }}); err != nil {
		t.Fatal(err)
	}
	if r.raised(CondSteppedDown) {
		t.Error("the condition stays")
	}
	deny(5)
	r.sink.waitActs(t, 5)
	if d := r.sink.acts()[4].Decision; d.WouldDeny() {
		t.Errorf("after it was restored: %+v", d)
	}
	r.stop()
}

// TestRuleModeFails shows that a change is whole or not at all.
func TestRuleModeFails(t *testing.T) {
	r := start(t, simple("r1"), nil)
	id := simple("r1").Program().Rules[event.HookExec][0].Ref.ID
	set := func() error {
		_, err := r.ChangeModes(t.Context(), ModeChange{By: "test", Change: func(m *event.Modes) { m.Rules[id] = event.ModeAudit }})
		return err
	}
	for _, op := range []string{"stage", "activate", "mode"} {
		r.kernel.set(op, fmt.Errorf("no %s", op))
		if err := set(); err == nil || len(r.Modes().Rules) != 0 {
			t.Errorf("%s fails: %v, modes %+v", op, err, r.Modes())
		}
		r.kernel.set(op, nil)
	}
	r.kernel.act(execOf(2, "/bad"))
	r.sink.waitActs(t, 1)
	if err := set(); err != nil {
		t.Fatal(err)
	}
	r.kernel.act(execOf(3, "/bad"))
	r.stop()
	if a := r.sink.acts(); a[0].Decision.WouldDeny() || !a[1].Decision.WouldDeny() || r.count("divergences") != 0 {
		t.Errorf("%+v, then %+v", a[0].Decision, a[1].Decision)
	}
}

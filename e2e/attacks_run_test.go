package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy"
	"example.com/bailiff/policy/lower"
	"example.com/bailiff/rules"
)

// TestAttacksComplete: each rule that ships, of the baseline and of the packs,
// has an attack that sets it off and an innocent act beside it, which expect of
// the rule what it is.
func TestAttacksComplete(t *testing.T) {
	if inGuest() {
		t.Skip("it needs no kernel")
	}
	attacks := readAttacks(t)
	known := shippedRules(t)
	for id, rule := range known {
		i := slices.IndexFunc(attacks, func(a *attack) bool { return a.rule == id })
		if i < 0 {
			t.Errorf("rule %s has no attack: write attacks/%s.txtar", id, id)
			continue
		}
		if got, want := attacks[i].expect, (expectation{rule.Verdict, rule.Hook, rule.Class.String()}); got != want {
			t.Errorf("attacks/%s.txtar expects %+v, the rule is %+v", id, got, want)
		}
		for _, hostile := range []bool{true, false} {
			if !slices.ContainsFunc(attacks[i].scripts, func(s script) bool { return s.hostile == hostile }) {
				t.Errorf("%s has no script that is hostile: %v", id, hostile)
			}
		}
	}
	for _, a := range attacks {
		if _, ok := known[a.rule]; !ok {
			t.Errorf("attacks/%s.txtar is about no rule", a.rule)
		}
	}
}

// shippedRules are the rules of the baseline and of all packs, by id.
func shippedRules(t testing.TB) map[string]policy.ExplainedRule {
	t.Helper()
	p, _, err := policy.LoadFS(context.Background(), rules.FS, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	all := p.Explain()
	for _, name := range rules.Packs() {
		fsys, err := rules.Pack(name)
		if err != nil {
			t.Fatal(err)
		}
		more, _, err := policy.Pack{Name: name, FS: fsys}.List(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, more...)
	}
	out := map[string]policy.ExplainedRule{}
	for _, e := range all {
		out[e.Rule.ID] = e
	}
	return out
}

// prefiltered is the class of rules of which OPA decides a part, after the act.
const prefiltered = "prefiltered"

// ofPack returns the attacks on the rules of a pack; "" is the baseline.
func ofPack(all []*attack, pack string) (out []*attack) {
	for _, a := range all {
		if a.pack == pack {
			out = append(out, a)
		}
	}
	return out
}

// attackBackends: in guests the backend that servers use, else what there is.
func attackBackends(t *testing.T) []string {
	if inGuest() {
		return []string{lsm}
	}
	return backends(t)
}

// olderGuest: the guest whose kernel is not the newest. It shares the time of a
// test run with the guest that lives a day.
func olderGuest() bool { return inGuest() && os.Getenv(envGuest) == "6.1" }

// TestAttacks runs every attack on the rules that ship, and its innocent twins,
// against the agent with the embedded rules: what is denied is refused with
// EPERM (killed, reported: as the backend can) and on record; in audit mode it
// passes and is on record as would-deny; alerts are on record; nothing else is.
func TestAttacks(t *testing.T) {
	attacks := ofPack(readAttacks(t), "")
	for _, backend := range attackBackends(t) {
		for _, mode := range shareOf(backend) {
			t.Run(backend+"-"+mode.String(), func(t *testing.T) {
				w := newAttackWorld(t, backend, mode, attacks)
				w.attack(attacks)
				w.stop()
			})
		}
	}
}

// TestAttacksPacks does the same for the packs, each with the baseline.
func TestAttacksPacks(t *testing.T) {
	if olderGuest() {
		t.Skip("time: it runs natively and with the newer kernel")
	}
	all := readAttacks(t)
	for _, backend := range attackBackends(t) {
		for _, mode := range []event.Mode{event.ModeEnforce, event.ModeAudit} {
			if inGuest() && mode == event.ModeAudit {
				continue // an agent more for each pack takes long there
			}
			for _, packs := range [][]string{{"miners", "containers", "recon"}, {"lockdown"}} {
				t.Run(backend+"-"+mode.String()+"-"+packs[0], func(t *testing.T) {
					if inGuest() && packs[0] != "lockdown" {
						t.Skip("time: it runs natively")
					}
					var attacks []*attack
					for _, name := range packs {
						attacks = append(attacks, ofPack(all, name)...)
					}
					w := newWorld(t, backend)
					w.bundle, w.root = "", attackRoot(t, attacks)
					if packs[0] == "lockdown" {
						packs = []string{"lockdown=" + w.lockdownList()}
					}
					w.start(mode, "--pack", strings.Join(packs, ","))
					w.attack(attacks)
					w.stop()
				})
			}
		}
	}
}

// lockdownList makes the list of what the packages in the root ship, and
// returns its path there.
func (w *world) lockdownList() string {
	w.t.Helper()
	const name = "/etc/bailiff/lockdown.json"
	p, err := build()
	w.must(err)
	out, err := harness.CLI(w.wait(), p.bailiff, "pack", "lockdown", "--from", "dpkg", "--root", w.root.Dir)
	w.must(err)
	w.must(w.root.File(name, out))
	return name
}

// attack runs all scripts.
func (w *world) attack(attacks []*attack) {
	for _, a := range attacks {
		w.t.Run(a.rule, func(t *testing.T) {
			for _, s := range a.scripts {
				t.Run(strings.TrimSuffix(s.name, ".sh"), func(t *testing.T) {
					if s.guestOnly != "" && !inGuest() {
						t.Skip("only in guests: " + s.guestOnly)
					}
					if s.nativeOnly != "" && inGuest() {
						t.Skip("only natively: " + s.nativeOnly)
					}
					if _, err := os.Stat(s.needs); s.needs != "" && err != nil {
						t.Skip("this kernel has no " + s.needs)
					}
					if inGuest() && w.agent.Mode == event.ModeAudit && !s.hostile {
						t.Skip("tried in enforce mode, and natively in both")
					}
					w.in(t).runScript(a, &s)
				})
			}
		})
	}
}

// newAttackWorld is a world with a root filesystem and the agent in it.
func newAttackWorld(t *testing.T, backend string, mode event.Mode, attacks []*attack, args ...string) *world {
	t.Helper()
	w := newWorld(t, backend)
	w.bundle = ""
	w.follow = []string{"--buffer", "65536"} // a fork bomb is many events at once
	w.root = attackRoot(t, attacks)
	w.start(mode, args...)
	return w
}

// runScript runs one script and compares what it met, and what is on record,
// with what the rule promises.
func (w *world) runScript(a *attack, s *script) {
	w.t.Helper()
	o, hits, others := w.play(a.rule, s)
	// On a busy machine OPA may be too late for a rule that needs it.
	for n := 0; n < 3 && s.hostile && len(hits) == 0 && a.expect.class == prefiltered; n++ {
		o, hits, others = w.play(a.rule, s)
	}
	if !s.hostile {
		for _, e := range append(hits, others...) {
			w.t.Errorf("innocent, but on record: %s", finding(e))
		}
		if o.Exit != 0 {
			w.t.Errorf("innocent, but ended with %s: %s", ended(o), o.Stderr)
		}
		return
	}
	if s.unseen != "" && !refuses(w.backend) {
		w.t.Skipf("not seen by the %s backend: %s", w.backend, s.unseen)
	}
	if inGuest() && len(hits) == 0 && slices.ContainsFunc(others, func(e *event.Event) bool { return e.Decision.FailOpen != "" && e.Decision.Rule.ID == a.rule }) {
		w.t.Skip("this machine is too slow: OPA had no answer in time, which is on record")
	}
	if len(hits) == 0 {
		w.t.Fatalf("the attack is not on record; it ended with %s: %s\nother findings: %s", ended(o), o.Stderr, findings(others))
	}
	mode := w.agent.Mode
	denied := a.expect.verdict == event.VerdictDeny
	atHook := refuses(w.backend) && a.expect.class != lower.ClassCommit.String()
	refused := denied && mode == event.ModeEnforce && atHook
	killed := denied && mode == event.ModeEnforce && !atHook && a.expect.hook == event.HookExec
	effect := event.EffectNone
	switch {
	case refused:
		effect = event.EffectRefused
		if said := strings.Contains(strings.ToLower(o.Stderr), "not permitted"); !said && o.Exit != int(syscall.EPERM) && o.Last() != syscall.EPERM {
			w.t.Errorf("it ended with %s, want EPERM: %s", ended(o), o.Stderr)
		}
	case killed:
		effect = event.EffectKilled
	case o.Exit != 0:
		w.t.Errorf("it ended with %s, want it to pass: %s", ended(o), o.Stderr)
	}
	for _, e := range hits {
		if d := e.Decision; d.Rule.ID == a.rule && (d.Verdict != a.expect.verdict || d.Effect != effect || d.Mode != mode || d.WouldDeny() != (denied && !refused && !killed)) {
			w.t.Errorf("on record as %s, want %v with effect %v", finding(e), a.expect.verdict, effect)
		}
	}
	w.t.Logf("%s; %s", ended(o), findings(hits))
}

// play runs a script and returns the findings of the rule and of others.
func (w *world) play(rule string, s *script) (o *harness.Outcome, hits, others []*event.Event) {
	w.t.Helper()
	cg, err := w.cgroup.Child("script")
	w.must(err)
	before := len(w.stream.All())
	o, err = harness.Actor{Cgroup: cg, Root: w.root, Dir: "/"}.Exec("/usr/bin/sh", "-c", ". /prelude\n"+s.text)
	if err != nil {
		w.t.Fatal(err)
	}
	w.must(cg.Remove()) // with what still runs in it
	_, err = w.stream.Of(w.wait(), o.PID)
	w.must(err)
	for _, e := range w.stream.All()[before:] {
		switch {
		case fired(e, rule):
			hits = append(hits, e)
		case (judged(e) || s.hostile && e.Decision.FailOpen != "" && e.Decision.Rule != nil) && !slices.Contains(s.beside, e.Decision.Rule.ID):
			others = append(others, e)
		}
	}
	return o, hits, others
}

// fired reports whether the rule decided about the event, or would have.
func fired(e *event.Event, id string) bool {
	return judged(e) && (e.Decision.Rule.ID == id ||
		slices.ContainsFunc(e.Decision.Others, func(r event.RuleRef) bool { return r.ID == id }))
}

// judged reports whether a rule fired. An act that passed because a rule had no
// answer in time names that rule too.
func judged(e *event.Event) bool {
	return e.Decision.Verdict == event.VerdictDeny || e.Decision.Verdict == event.VerdictAlert
}

// finding is an event in short.
func finding(e *event.Event) string {
	d := e.Decision
	file := ""
	if e.File != nil {
		file = e.File.Path
	}
	return fmt.Sprintf("%v %v by %s (%v, %v): %s %s %v", e.Hook, file, e.Process.Exe.Path, d.Verdict, d.Effect, d.Rule.ID, d.Message, e.Open)
}

func findings(events []*event.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, finding(e))
	}
	if len(out) > 4 {
		out = append(out[:4], fmt.Sprintf("and %d more", len(out)-4))
	}
	return strings.Join(out, "; ")
}

func ended(o *harness.Outcome) string {
	if o.Signal != 0 {
		return o.Signal.String()
	}
	return fmt.Sprintf("status %d, start errno %d", o.Exit, int(o.Errno))
}

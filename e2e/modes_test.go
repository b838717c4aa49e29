package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// onBestBackend runs f for the best backend of this machine only: what is decided
// after a rule fired is the same code for all, and a guest is slow.
func onBestBackend(t *testing.T, f func(t *testing.T, backend string)) {
	best := backends(t)[0]
	t.Run(best, func(t *testing.T) { f(t, best) })
}

// modeWorld has three programs: one that the first rule denies, one that the
// second does, one that both do.
func modeWorld(t *testing.T, backend string) (w *world, first, second, both string) {
	w = newWorld(t, backend)
	first, second, both = w.path("first"), w.path("denied", "second"), w.path("denied", "both")
	for _, p := range []string{first, second, both} {
		w.write(p, harness.MarkerProgram(w.path("marker")), 0o755)
	}
	w.policy(map[string]any{"programs": []string{first, both}, "directories": []string{w.path("denied") + "/"}, "parents": []string{}},
		map[string]string{"exec": execPolicy})
	return w, first, second, both
}

// run executes a program in a cgroup ("" is the world's) and returns whether it
// was blocked, and the event of its exec.
func (w *world) run(cgroup, program string) (bool, *event.Event) {
	w.t.Helper()
	s := steps([]string{"exec", program})
	if cgroup != "" {
		s = append(steps([]string{"enter", cgroup}), s...)
	}
	o, events := w.do(w.actor(), s...)
	for _, e := range events {
		if e.Hook == event.HookExec && e.File.Path == program {
			blocked := o.Signal == syscall.SIGKILL || o.Last() == syscall.EPERM
			if blocked != (e.Decision.Effect != event.EffectNone) {
				w.t.Errorf("blocked is %v, on record is %s", blocked, show(e))
			}
			return blocked, e
		}
	}
	w.t.Fatalf("no event of %s: %v", program, o)
	return false, nil
}

// expect runs a program and checks what became of it.
func (w *world) expect(cgroup, program string, mode event.Mode, by event.ModeBy, rule string) {
	w.t.Helper()
	blocked, e := w.run(cgroup, program)
	d := e.Decision
	if blocked != (mode == event.ModeEnforce) || d.Mode != mode || d.ModeBy != by || d.Rule == nil || d.Rule.ID != rule {
		w.t.Errorf("%s in %q: blocked %v; want mode %s by %q, rule %s: %s (mode by %q)", filepath.Base(program), cgroup, blocked, mode, by, rule, show(e), d.ModeBy)
	}
}

func (w *world) cli(args ...string) string {
	w.t.Helper()
	out, err := w.agent.CLI(w.wait(), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(out)
}

// mkdir makes a cgroup below the world's, which goes with the test.
func (w *world) mkdir(name string) string {
	w.t.Helper()
	dir := filepath.Join(w.cgroup.Dir, name)
	w.must(os.Mkdir(dir, 0o755))
	w.t.Cleanup(func() { _ = os.Remove(dir) })
	return dir
}

// below is the path of a cgroup below the mount.
func below(t *testing.T, dir string) string {
	t.Helper()
	top, err := harness.Cgroup2Mount()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(dir, top)
}

// TestRuleMode shows that a rule's own mode goes before the mode for all, both
// ways, and that a rule in audit mode hides no other that denies the same act.
func TestRuleMode(t *testing.T) {
	onBestBackend(t, func(t *testing.T, backend string) {
		w, first, second, both := modeWorld(t, backend)
		w.start(event.ModeAudit)
		const a, b = "e2e-program", "e2e-directory"
		w.expect("", first, event.ModeAudit, event.ByAll, a)
		w.cli("mode", "enforce", "--rule", a)
		w.expect("", first, event.ModeEnforce, event.ByRule, a)
		w.expect("", second, event.ModeAudit, event.ByAll, b)
		w.expect("", both, event.ModeEnforce, event.ByRule, a)
		w.cli("mode", "enforce")
		w.cli("mode", "audit", "--rule", a)
		w.expect("", first, event.ModeAudit, event.ByRule, a)
		w.expect("", second, event.ModeEnforce, event.ByAll, b)
		w.expect("", both, event.ModeEnforce, event.ByAll, b)
		w.cli("mode", "default", "--rule", a)
		w.expect("", both, event.ModeEnforce, event.ByAll, a)
		w.stop()
	})
}

// TestCgroupMode shows that a cgroup's own mode is taken for what is below it,
// that it may be given before there is such a cgroup and outlasts it, and that
// audit wins over a rule that enforces.
func TestCgroupMode(t *testing.T) {
	onBestBackend(t, func(t *testing.T, backend string) {
		w, first, _, _ := modeWorld(t, backend)
		w.start(event.ModeAudit)
		const rule = "e2e-program"
		service := filepath.Join(w.cgroup.Dir, "web.service")
		w.cli("mode", "enforce", "--cgroup", below(t, service))
		for range 2 { // stopped and started anew it is another cgroup
			w.mkdir("web.service")
			w.mkdir("web.service/worker")
			w.expect(service, first, event.ModeEnforce, event.ByCgroup, rule)
			w.expect(service+"/worker", first, event.ModeEnforce, event.ByCgroup, rule)
			w.expect("", first, event.ModeAudit, event.ByAll, rule)
			w.must(os.Remove(service + "/worker"))
			w.must(os.Remove(service))
		}
		w.mkdir("web.service")
		w.mkdir("web.service/worker")
		w.cli("mode", "audit", "--cgroup", service+"/worker") // by its directory
		w.expect(service+"/worker", first, event.ModeAudit, event.ByCgroup, rule)
		w.expect(service, first, event.ModeEnforce, event.ByCgroup, rule)
		w.cli("mode", "enforce", "--rule", rule)
		w.expect(service+"/worker", first, event.ModeAudit, event.ByCgroup, rule)
		w.expect("", first, event.ModeEnforce, event.ByRule, rule)
		w.cli("mode", "default", "--rule", rule)
		w.cli("mode", "default", "--cgroup", below(t, service))
		w.cli("mode", "default", "--cgroup", below(t, service)+"/worker")
		w.expect(service, first, event.ModeAudit, event.ByAll, rule)

		// An event names the cgroup in which the process was, not its parent's.
		_, e := w.run(service+"/worker", first)
		if want := below(t, service) + "/worker"; e.Process.Cgroup != want {
			t.Errorf("the event names cgroup %s, the process was in %s", e.Process.Cgroup, want)
		}
		w.stop()
	})
}

// TestShare shows that the kernel takes the same cgroups for a share as the
// definition does, what is below a service with it.
func TestShare(t *testing.T) {
	onBestBackend(t, func(t *testing.T, backend string) {
		w, first, _, _ := modeWorld(t, backend)
		// Which cgroups are of the share depends on their names, which differ in
		// each run: without this, the sixth would make the rule step down.
		w.start(event.ModeAudit, "--step-down-cgroups", "0")
		w.cli("mode", "enforce", "--share", "40%")
		modes := event.Modes{All: event.ModeEnforce, Share: event.ShareAll * 2 / 5}
		seen := map[event.Mode]int{}
		for i := range 12 {
			name := fmt.Sprintf("a-service-with-a-name-%d.service", i)
			switch i % 3 {
			case 1:
				name = fmt.Sprintf("s%d.scope", i)
			case 2:
				name = fmt.Sprintf("exactly15chars%c", 'a'+i)
			}
			dir := w.mkdir(name)
			w.mkdir(name + "/below")
			mode, by := modes.Here("e2e-program", false, below(t, dir))
			seen[mode]++
			w.expect(dir, first, mode, by, "e2e-program")
			if i%3 != 2 {
				w.expect(dir+"/below", first, mode, by, "e2e-program")
			}
		}
		if seen[event.ModeAudit] == 0 || seen[event.ModeEnforce] == 0 {
			t.Logf("all cgroups stood on one side: %v", seen)
		}
		if out := w.cli("mode"); !strings.Contains(out, "enforce in 40% of the cgroups") {
			t.Errorf("mode says %q", out)
		}
		w.stop()
	})
}

// TestStepDown shows that a rule that blocks many programs of the system goes
// to audit mode by itself, and that a program anybody may make does not count.
func TestStepDown(t *testing.T) {
	onBestBackend(t, func(t *testing.T, backend string) {
		w, first, second, _ := modeWorld(t, backend)
		const rule = "e2e-directory"
		tool := func(i int) string {
			p := w.path("denied", fmt.Sprintf("tool%d", i))
			w.write(p, harness.MarkerProgram(w.path("marker")), 0o755)
			return p
		}
		var tools []string
		for i := range 8 {
			tools = append(tools, tool(i))
			if i < 4 {
				w.must(os.Chown(tools[i], 65534, 65534))
			}
		}
		w.start(event.ModeEnforce, "--step-down-programs", "3")
		for _, p := range append(tools[:4:4], tools[4:7]...) { // four of nobody's, three of root's
			w.expect("", p, event.ModeEnforce, event.ByAll, rule)
		}
		w.expect("", tools[7], event.ModeEnforce, event.ByAll, rule) // the one too many
		w.condition("rule-stepped-down")
		w.expect("", second, event.ModeAudit, event.ByRule, rule)
		w.expect("", first, event.ModeEnforce, event.ByAll, "e2e-program") // another rule's business
		w.cli("mode", "default", "--rule", rule)
		w.expect("", second, event.ModeEnforce, event.ByAll, rule)
		w.stop()
	})
}

// condition waits until the agent raises a condition.
func (w *world) condition(code string) {
	w.t.Helper()
	ctx := w.wait()
	for {
		st, err := w.agent.Status(ctx)
		if err != nil {
			w.t.Fatalf("no condition %s: %v", code, err)
		}
		for _, c := range st.Conditions {
			if c.Code == code {
				return
			}
		}
	}
}

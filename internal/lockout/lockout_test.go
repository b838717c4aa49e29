package lockout

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
)

// decider denies what deny says, by rule r.
type decider func(*event.Event) (bool, error)

func (d decider) Decide(_ context.Context, e *event.Event) (event.Decision, error) {
	deny, err := d(e)
	if !deny {
		return event.Decision{Verdict: event.VerdictAllow}, err
	}
	return event.Decision{Verdict: event.VerdictDeny, Rule: &event.RuleRef{ID: "loud"}, Others: []event.RuleRef{{ID: "r", File: "x.rego", Line: 3}}}, err
}

// machine is a small one.
func machine(t *testing.T) []Act {
	root := t.TempDir()
	for path, mode := range map[string]os.FileMode{"/sbin/init": 0o755, "/usr/bin/bash": 0o755, "/bin/sh": 0o755, "/usr/bin/login": 0o755, "/usr/bin/su": 0o4755,
		"/sbin/agetty": 0o755, "/usr/bin/dpkg": 0o755, "/opt/bailiff": 0o755, "/etc/shadow": 0o600, "/etc/pam.d/login": 0o644} {
		if err := os.MkdirAll(filepath.Dir(root+path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(root+path, mode|map[bool]os.FileMode{true: os.ModeSetuid}[mode&0o4000 != 0]); err != nil {
			t.Fatal(err)
		}
	}
	passwd := "x:x:7:7::/:/bin/false\nroot:x:0:0:root:/root:/usr/bin/bash\n"
	if err := os.WriteFile(root+"/etc/passwd", []byte(passwd), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/usr/bin/login", root+"/bin/login"); err != nil {
		t.Fatal(err)
	}
	return acts(newHost(root), "/opt/bailiff", "/sbin/init")
}

func TestActs(t *testing.T) {
	var all []string
	for _, a := range machine(t) {
		all = append(all, a.Who+": "+a.String())
		if a.Event.Process.UID != 0 || a.Event.Process.Cgroup == "" || a.Event.Process.Exe.Path == "" {
			t.Errorf("%s: process %+v", a, a.Event.Process)
		}
	}
	for _, want := range []string{
		"init: /sbin/init forks", "init: /sbin/init executes /opt/bailiff", "init: /sbin/init executes /sbin/agetty",
		"the agent: /opt/bailiff forks", "root's login: /usr/bin/su opens /etc/shadow (read)", "root's login: /usr/bin/su executes /usr/bin/bash",
		"root's login: /usr/bin/bash executes /opt/bailiff", "the package manager: /usr/bin/bash executes /usr/bin/dpkg", "the package manager: /usr/bin/dpkg executes /bin/sh",
	} {
		if !slices.Contains(all, want) {
			t.Errorf("no act %q in\n%s", want, strings.Join(all, "\n"))
		}
	}
	for _, never := range []string{"init: /sbin/init executes /usr/bin/su", "root's login: /sbin/agetty opens /etc/shadow (read)"} {
		if slices.Contains(all, never) {
			t.Errorf("%q must not be asked about", never)
		}
	}
}

func TestCheck(t *testing.T) {
	list := machine(t)
	shadow := decider(func(e *event.Event) (bool, error) { return e.File != nil && e.File.Path == "/etc/shadow", nil })
	found, err := Check(t.Context(), shadow, list, func(r *event.RuleRef, _ string) bool { return r.ID == "r" })
	if err != nil || len(found) == 0 || found[0].Rule.ID != "r" || !strings.Contains(found[0].String(), "rule r (x.rego:3) would deny: root's login: /usr/bin/login opens /etc/shadow") {
		t.Errorf("%v, %v", found, err)
	}
	// A rule that does not block is no lock-out.
	if found, err := Check(t.Context(), shadow, list, func(*event.RuleRef, string) bool { return false }); err != nil || len(found) > 0 {
		t.Errorf("%v, %v", found, err)
	}
	// Who cannot be asked is not to be trusted.
	if _, err := Check(t.Context(), decider(func(*event.Event) (bool, error) { return false, errors.New("broken") }), list, nil); err == nil {
		t.Error("no error")
	}
}

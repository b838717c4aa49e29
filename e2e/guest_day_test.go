package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/bailiff/e2e/guest"
	"example.com/bailiff/internal/event"
)

// dayRoot is the server that the day is lived on.
var dayRoot = guest.Debian{Suite: "bookworm", Packages: []string{
	"systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "openssh-client", "cron", "nginx-light", "make", "tcc", "libc6-dev",
	"login", "passwd", "procps", "logrotate", "rsyslog", "sudo", "kmod", "curl", "apache2-utils",
}}

// dayScript is run when the machine is up. The events of the boot and of both
// rounds come out of the spool at the end.
const dayScript = `
ready=$(systemctl show -P ActiveEnterTimestampMonotonic bailiff) begun=$(systemctl show -P ExecMainStartTimestampMonotonic bailiff)
echo "day-boot $(cut -d' ' -f1 /proc/uptime) s after power on; the agent was ready at ${ready%??????} s, $(((ready - begun) / 1000000)) s after its start"
systemctl is-active -q bailiff || { journalctl -q -u bailiff --no-pager; exit 1; }
bailiff mode | grep -qx 'mode *enforce' || { bailiff status; exit 1; } # else nothing is proven
systemctl --failed --no-legend --plain | sed 's/^/day-unit-failed /'
bash /opt/day/day.sh enforce || status=1
if [ "${status:-0}" = 0 ] && [ -e /opt/day/twice ]; then
	echo day-mode audit
	bailiff mode audit >/dev/null && bash /opt/day/day.sh audit || status=1
fi
bailiff status | sed 's/^/day-status /'
echo "day-json $(bailiff status -o json | tr -d '\n')"
# The last act sets a rule off: what comes before it in the spool is all there is.
cp /bin/true /dev/shm/day-end && /dev/shm/day-end
exec 3< <(bailiff events --replay --verdict deny,alert --no-notices -o json)
while read -r line <&3; do
	echo "day-event $line"
	case $line in *day-end*) break ;; esac
done
exit ${status:-0}
`

// dayAlert is an alert that the day may raise, and why that is right.
type dayAlert struct {
	rule, exe, file string // file may be a prefix that ends in /
	why             string
}

var dayAlerts = []dayAlert{
	{"authorized-keys-write", "/usr/bin/install", "/home/dev/.ssh/authorized_keys", "an administrator gives somebody a key by hand: worth knowing"},
	{"persistence-write", "/usr/bin/bash", "/etc/cron.d/day", "an administrator writes a cron job by hand: worth knowing"},
}

// envDay asks for a second round in audit mode (make day).
const envDay = "BAILIFF_E2E_DAY"

// TestGuestDay boots a Debian with systemd under the rules and the unit that
// ship, in enforce mode from early in the boot on, and lives a day on it:
// installation, accounts, logins, a build, a web server under load, cron and
// care. No rule may deny anything, and each alert must be one of dayAlerts.
func TestGuestDay(t *testing.T) {
	if inGuest() {
		t.Skip("already in a guest")
	}
	t.Parallel()
	const series = "6.12"
	layer := "guest-day"
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	i := slices.IndexFunc(guest.Releases(), func(r guest.Release) bool { return r.Series == series })
	image, err := guest.Releases()[i].Kernel(ctx)
	if errors.Is(err, guest.ErrNoKernel) {
		skipLayer(t, layer, err.Error())
	} else if err != nil {
		t.Fatal(err)
	}
	root, err := dayRoot.Root(ctx)
	if errors.Is(err, guest.ErrNoDebian) {
		skipLayer(t, layer, err.Error())
	}
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	m := guest.Machine{Kernel: image, Root: root, Memory: 2048, Script: dayScript, Files: map[string]string{
		"usr/bin/bailiff": bin.bailiff, "usr/lib/systemd/system/bailiff.service": "../docs/packaging/bailiff.service",
		"etc/systemd/system/bailiff.service.d/slow.conf": "day/slow.conf", "etc/bailiff/config.yaml": "day/config.yaml",
		"etc/hostname": "day/hostname", "etc/hosts": "day/hosts",
		"opt/day/day.sh": "day/day.sh", "opt/day/build.sh": "day/build.sh", "opt/day/app.deb": dayPackage(t),
	}, Links: map[string]string{"usr/lib/systemd/system/sysinit.target.wants/bailiff.service": "../bailiff.service"}}
	if os.Getenv(envDay) != "" {
		m.Files["opt/day/twice"] = "day/day.sh" // being there is all
	}
	start := time.Now()
	var findings []*event.Event
	ended, told := false, false
	out, err := m.Run(ctx, func(line string) {
		if text, ok := strings.CutPrefix(line, "day-event "); ok {
			var e event.Event
			switch err := json.Unmarshal([]byte(text), &e); {
			case err != nil:
				t.Errorf("read event: %v: %s", err, text)
			case strings.Contains(text, "day-end"):
				ended = true
			case judged(&e):
				findings = append(findings, &e)
			}
			return
		}
		if text, ok := strings.CutPrefix(line, "day-json "); ok {
			checkCounters(t, text)
			told = true
			return
		}
		t.Logf("%6.1fs %s", time.Since(start).Seconds(), line)
		progress("day", line)
	})
	if errors.Is(err, guest.ErrNoQEMU) {
		skipLayer(t, layer, err.Error())
	}
	if out != nil && testing.Verbose() {
		t.Logf("console:\n%s", out.Console)
	}
	if err != nil {
		t.Fatal(err)
	}
	if out.Exit != 0 {
		t.Errorf("the day ended with status %d", out.Exit)
	}
	if !told {
		t.Error("the agent did not say how it was")
	}
	if !ended {
		t.Error("the events do not reach to the end of the day")
	}
	checkDay(t, findings)
}

// checkCounters demands that the findings are all there are.
func checkCounters(t *testing.T, status string) {
	t.Helper()
	var st struct {
		Counters map[string]uint64 `json:"counters"`
	}
	if err := json.Unmarshal([]byte(status), &st); err != nil {
		t.Errorf("read status: %v: %s", err, status)
	}
	for name, n := range st.Counters {
		if n > 0 && (name == "divergences" || strings.HasPrefix(name, "kernel_drop_") || strings.HasPrefix(name, "spool_lost_")) {
			t.Errorf("%s: %d", name, n)
		}
	}
}

// checkDay holds the findings against what is allowed, and lists them.
func checkDay(t *testing.T, findings []*event.Event) {
	t.Helper()
	counts := map[string]int{}
	for _, e := range findings {
		why := "NOT EXPECTED"
		i := slices.IndexFunc(dayAlerts, func(a dayAlert) bool {
			return e.Decision.Verdict == event.VerdictAlert && a.rule == e.Decision.Rule.ID && a.exe == e.Process.Exe.Path && e.File != nil &&
				(a.file == e.File.Path || strings.HasSuffix(a.file, "/") && strings.HasPrefix(e.File.Path, a.file))
		})
		if i >= 0 {
			why = dayAlerts[i].why
		}
		key := finding(e) + " [" + strings.Join(e.Process.Ancestry, " ") + "]: " + why
		if counts[key]++; i < 0 && counts[key] == 1 {
			t.Errorf("on record in mode %v: %s", e.Decision.Mode, key)
		}
	}
	for key, n := range counts {
		t.Logf("%4d x %s", n, key)
	}
}

// dayPackage builds the package that is installed.
func dayPackage(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		skipLayer(t, "guest-day", "no dpkg-deb")
	}
	deb := filepath.Join(t.TempDir(), "app.deb")
	if b, err := exec.Command("dpkg-deb", "--root-owner-group", "-b", "day/app", deb).CombinedOutput(); err != nil {
		t.Fatalf("build package: %v: %s", err, b)
	}
	if _, err := os.Stat(deb); err != nil {
		t.Fatal(fmt.Errorf("build package: %w", err))
	}
	return deb
}

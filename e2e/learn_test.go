package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	"example.com/bailiff/internal/event"
)

// service is what the learned service does: it reads its configuration, runs
// helpers, writes a log and files with names that are new each time.
const service = `
cd "$1"
read -r conf < app.conf
for i in 1 2 3; do read -r line < share/part$i; done
date=$(/usr/bin/date)
echo "$date $conf" >> log/app.log
t=$(/usr/bin/mktemp data/job.XXXXXXXX)
/usr/bin/cat app.conf > "$t"
/usr/bin/rm "$t"
[ -z "$2" ] || "$2"
`

// TestLearn learns from really recorded events of a service, and shows that what
// was learned denies nothing that it does later, and denies what is new.
func TestLearn(t *testing.T) {
	onBestBackend(t, func(t *testing.T, backend string) {
		if refuses(backend) {
			t.Skip("a guest has no service to learn from: natively only")
		}
		w := newWorld(t, backend)
		shell, err := os.ReadFile("/bin/bash")
		if err != nil {
			t.Skip("needs bash: ", err)
		}
		for _, tool := range []string{"/usr/bin/date", "/usr/bin/mktemp", "/usr/bin/cat", "/usr/bin/rm", "/usr/bin/id"} {
			if _, err := os.Stat(tool); err != nil {
				t.Skip("needs ", tool)
			}
		}
		app := w.path("webapp") // a program of its own, not a shell by name
		w.write(app, shell, 0o755)
		w.write(w.path("app.conf"), []byte("x\n"), 0o644)
		for _, part := range []string{"part1", "part2", "part3"} {
			w.write(w.path("share", part), []byte("x\n"), 0o644)
		}
		w.write(w.path("log", "app.log"), nil, 0o644)
		w.write(w.path("data", "keep"), nil, 0o644)
		w.policy(map[string]any{"programs": []string{}, "directories": []string{}, "parents": []string{}}, map[string]string{"exec": execPolicy})
		w.start(event.ModeAudit, "--all-opens")
		pid := 0
		run := func(extra string) error {
			cmd := exec.Command(app, "-c", service, "webapp", w.dir, extra)
			w.cgroup.Put(cmd)
			err := cmd.Run()
			pid = cmd.Process.Pid
			return err
		}
		for range 4 {
			w.must(run(""))
		}
		// The recording is split behind the end of the last run so far.
		events, err := w.stream.Of(w.wait(), pid)
		w.must(err)
		until := events[len(events)-1].Time.Add(time.Nanosecond).UTC().Format(time.RFC3339Nano)
		for range 8 {
			w.must(run(""))
		}
		learned, cgroup := w.path("learned"), below(t, w.cgroup.Dir)
		out := w.cli("learn", "--cgroup", cgroup, "--until", until, "--name", "webapp", "--out", learned, "-o", "json")
		var answer struct {
			By   string `json:"by"`
			Data struct {
				Programs    []string `json:"programs"`
				Executables []string `json:"executables"`
				Write       []string `json:"write"`
				WriteBelow  []string `json:"write_below"`
			} `json:"data"`
			HeldBack struct{ Acts, Denied int } `json:"held_back"`
		}
		w.must(json.Unmarshal([]byte(out), &answer))
		if answer.By != "program" || len(answer.Data.Programs) != 1 || answer.Data.Programs[0] != app {
			t.Errorf("learned %s", out)
		}
		if answer.HeldBack.Acts == 0 || answer.HeldBack.Denied != 0 {
			t.Errorf("of %d acts held back %d would have been denied: %s", answer.HeldBack.Acts, answer.HeldBack.Denied, out)
		}
		w.cli("check", learned, "--require-lowered")
		w.cli("test", learned)
		// What was recorded after the part that it learned from.
		t.Log(w.cli("replay", learned, "--cgroup", cgroup, "--since", until, "--fail-on", "newly-denied"))

		w.cli("apply", learned)
		w.cli("mode", "enforce")
		if err := run(""); err != nil {
			t.Errorf("the service does not run under what was learned from it: %v", err)
		}
		if err := run("/usr/bin/id"); err == nil {
			t.Error("the service may run a program that is new for it")
		}
		w.stop()
	})
}

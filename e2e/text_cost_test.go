package e2e

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"example.com/bailiff/bpf"
	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/policy"
)

// TestNativeTexts measures what the kernel side takes at an exec whose arguments
// rules read. docs/performance.md has the figures.
func TestNativeTexts(t *testing.T) {
	if os.Getenv(envBench) == "" || inGuest() || os.Geteuid() != 0 {
		t.Skip("a measurement: make bench")
	}
	stats, err := bpf.EnableStats()
	if err != nil {
		t.Fatal(err)
	}
	defer stats.Close()
	short := strings.Fields("run --name web --network host -v /srv/data:/data:ro -e LANG=C.UTF-8 --restart=always --memory 512m " +
		"registry.example.com/team/image:1.2.3 --listen=0.0.0.0:8080 --verbose --log-level=info --config=/etc/app/config.yaml --x")
	const (
		begins   = `startswith(a, "--evil-%c")`
		anywhere = `contains(a, "--evil-%c")`
		matches  = `regex.match("(^|[^a-z])evil-%c[^ ]*[.](sh|py)", a)`
	)
	long := append(slices.Clone(short), strings.Repeat("some-text/with-words ", 3000))
	for _, m := range []struct {
		name, program, test string
		args                []string
	}{
		{"20 rules on another program", "/usr/bin/nothing", begins, short},
		{"20 tests of beginnings", "/usr/bin/true", begins, short},
		{"20 tests anywhere", "/usr/bin/true", anywhere, short},
		{"20 regular expressions", "/usr/bin/true", matches, short},
		{"20 tests of beginnings", "/usr/bin/true", begins, long},
		{"20 tests anywhere", "/usr/bin/true", anywhere, long},
		{"20 regular expressions", "/usr/bin/true", matches, long},
	} {
		text := "package bailiff.exec\n"
		for i := range 20 {
			test := fmt.Sprintf(m.test, 'a'+i)
			text += fmt.Sprintf("\n# METADATA\n# custom: {id: t%d}\nalert contains \"x\" if {\n\tinput.file.path == %q\n\tsome a in input.args\n\t%s\n}\n", i, m.program, test)
		}
		t.Logf("%-28s %6d bytes of arguments: track_exec takes %v", m.name, len(strings.Join(m.args, " "))+1, textCost(t, text, m.args))
	}
}

// textCost is the least mean time of the program that judges an exec of
// /usr/bin/true, of several rounds.
func textCost(t *testing.T, text string, args []string) time.Duration {
	cg, err := harness.NewCgroup("bailiff-test")
	if err != nil {
		t.Fatal(err)
	}
	defer cg.Remove()
	dir, err := os.Open(cg.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	k, err := bpf.Open(context.Background(), bpf.Options{Backend: bpf.BackendTracepoint, Scope: []string{cg.Dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	p, _, err := policy.LoadFS(context.Background(), fstest.MapFS{"rules.rego": {Data: []byte(text)}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gen, err := k.Stage(context.Background(), p.Program())
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Activate(gen); err != nil {
		t.Fatal(err)
	}
	measured := func() (s bpf.ProgramStat) {
		all, err := k.ProgramStats()
		if err != nil {
			t.Fatal(err)
		}
		if i := slices.IndexFunc(all, func(s bpf.ProgramStat) bool { return s.Name == "track_exec" }); i >= 0 {
			s = all[i]
		}
		return s
	}
	least := time.Duration(math.MaxInt64)
	for range 8 {
		before := measured()
		for range 100 {
			cmd := exec.Command("/usr/bin/true", args...)
			cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
			if err := cmd.Run(); err != nil {
				t.Fatal(err)
			}
		}
		after := measured()
		least = min(least, (after.Time-before.Time)/time.Duration(after.Runs-before.Runs))
	}
	return least
}

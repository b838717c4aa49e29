package guest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestBoot shows that both kernels come up, that their LSM list has bpf, and
// that output and exit status arrive.
func TestBoot(t *testing.T) {
	for _, r := range Releases() {
		t.Run(r.Series, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			image, err := r.Kernel(ctx)
			if errors.Is(err, ErrNoKernel) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			m := &Machine{Kernel: image, Script: "uname -r; cat /sys/kernel/security/lsm; echo; test -e /sys/fs/cgroup/cgroup.procs; exit $((3 + $?))"}
			var lines []string
			start := time.Now()
			out, err := m.Run(ctx, func(s string) { lines = append(lines, s) })
			if errors.Is(err, ErrNoQEMU) || errors.Is(err, ErrNoBusybox) {
				t.Skip(err)
			} else if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v: %q", time.Since(start).Round(time.Millisecond), lines)
			if out.Exit != 3 {
				t.Errorf("exit status %d, want 3", out.Exit)
			}
			if len(lines) < 2 || !strings.HasPrefix(lines[0], r.Series+".") {
				t.Fatalf("kernel says %q, want series %s", lines, r.Series)
			}
			if !strings.Contains(","+lines[1]+",", ",bpf,") {
				t.Errorf("lsm list %q does not hold bpf", lines[1])
			}
		})
	}
}

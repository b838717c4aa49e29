package e2e

import (
	"os"
	"strings"
	"testing"
)

// TestKernel shows that a guest is what the other tests take it for.
func TestKernel(t *testing.T) {
	if !inGuest() {
		t.Skip("only in a guest")
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		t.Fatal(err)
	}
	if want := os.Getenv(envGuest) + "."; !strings.HasPrefix(string(release), want) {
		t.Errorf("kernel is %s, want series %s", release, want)
	}
	lsm, err := os.ReadFile("/sys/kernel/security/lsm")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(","+strings.TrimSpace(string(lsm))+",", ",bpf,") {
		t.Errorf("lsm list %q does not hold bpf", lsm)
	}
}

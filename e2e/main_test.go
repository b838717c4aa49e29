package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/bailiff/e2e/harness"
)

// Set by the host for tests in a guest; natively they are empty.
const (
	envBinary   = "BAILIFF_E2E_BINARY"   // the bailiff program to use instead of building one
	envBackends = "BAILIFF_E2E_BACKENDS" // backends that must work here
	envGuest    = "BAILIFF_E2E_GUEST"    // kernel series of the guest
	envRun      = "BAILIFF_E2E_RUN"      // on the host: which tests the guests run, as -run takes it
)

func TestMain(m *testing.M) {
	harness.RunIfAct()
	os.Exit(m.Run())
}

// inGuest reports whether the test runs in a guest of its own.
func inGuest() bool { return os.Getenv(envGuest) != "" }

// skipLayer skips the test because the machine lacks what the layer needs. In
// CI that is a failure: a layer must not go missing unseen.
func skipLayer(t testing.TB, layer, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("layer %s did not run: %s", layer, reason)
	}
	t.Skipf("layer %s did not run: %s", layer, reason)
}

// goBuild compiles a static program or test binary for guest and host.
func goBuild(ctx context.Context, out string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", filepath.Base(out), err, strings.TrimSpace(string(b)))
	}
	return nil
}

// programs are the binaries under test, built once for all tests.
type programs struct{ bailiff, e2e, bpf string }

// build compiles the agent and this package's tests, once. The directory is
// kept between runs so that nothing is linked anew that has not changed.
var build = sync.OnceValues(func() (programs, error) {
	if b := os.Getenv(envBinary); b != "" {
		return programs{bailiff: b}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dir, err := filepath.Abs("../build/e2e")
	if err != nil {
		return programs{}, err
	}
	p := programs{bailiff: filepath.Join(dir, "bailiff"), e2e: filepath.Join(dir, "e2e.test"), bpf: filepath.Join(dir, "bpf.test")}
	return p, errors.Join(
		goBuild(ctx, p.bailiff, "build", "-ldflags=-s -w", "-o", p.bailiff, "../cmd/bailiff"),
		goBuild(ctx, p.e2e, "test", "-c", "-ldflags=-s -w", "-o", p.e2e, "."),
		goBuild(ctx, p.bpf, "test", "-c", "-ldflags=-s -w", "-o", p.bpf, "../bpf"),
	)
})

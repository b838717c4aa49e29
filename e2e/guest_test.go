package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"example.com/bailiff/e2e/guest"
)

// TestGuest runs all other tests of this package again in a guest for each
// kernel, with the binaries of the host, and reports them one by one.
func TestGuest(t *testing.T) {
	if inGuest() {
		t.Skip("already in a guest")
	}
	if testing.Short() {
		t.Skip("guests are slow: not with -short")
	}
	for _, r := range guest.Releases() {
		t.Run(r.Series, func(t *testing.T) {
			t.Parallel() // one processor each
			runGuest(t, r)
		})
	}
}

func runGuest(t *testing.T, r guest.Release) {
	layer := "guest-" + r.Series
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	image, err := r.Kernel(ctx)
	if errors.Is(err, guest.ErrNoKernel) {
		skipLayer(t, layer, err.Error())
	} else if err != nil {
		t.Fatal(err)
	}
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	run := "."
	if s := os.Getenv(envRun); s != "" {
		run = s
	}
	m := guest.Machine{
		Kernel: image,
		Files:  map[string]string{"usr/bin/bailiff": bin.bailiff, "usr/bin/e2e.test": bin.tests},
		Script: guestScript(map[string]string{
			envBinary: "/usr/bin/bailiff", envBackends: "lsm,modify-return,tracepoint", envGuest: r.Series, "CI": "true",
		}, fmt.Sprintf("/usr/bin/e2e.test -test.v=test2json -test.timeout 28m -test.skip ^TestGuest -test.run '%s'", run)),
	}
	var results guest.Results
	out, err := m.Run(ctx, func(line string) {
		results.Line(line)
		progress(r.Series, line)
	})
	if errors.Is(err, guest.ErrNoQEMU) || errors.Is(err, guest.ErrNoBusybox) {
		skipLayer(t, layer, err.Error())
	}
	results.Report(t)
	switch {
	case err != nil:
		t.Fatal(err)
	case out.Exit != 0:
		t.Errorf("the tests in the guest ended with status %d", out.Exit)
	}
}

// guestScript is a shell script that runs a command with an environment.
func guestScript(env map[string]string, command string) string {
	var b strings.Builder
	for k, v := range env {
		fmt.Fprintf(&b, "export %s=%s\n", k, v)
	}
	return b.String() + "cd /tmp\n" + command + "\n"
}

// progress shows what a guest does while it does it: guests take minutes, and
// go test shows the output of a test only after it.
func progress(series, line string) {
	if _, framed, ok := strings.Cut(line, "\x16"); ok && testing.Verbose() {
		fmt.Fprintf(os.Stderr, "guest %s: %s\n", series, framed)
	}
}

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
	var s session
	s.run(t, r, guestEnv(r), "")
	for _, part := range s.parts {
		t.Run(part.name, part.results.Report)
	}
	s.check(t)
}

// session is one run of a guest and what its test binaries said.
type session struct {
	parts []*part
	out   *guest.Output
	err   error
}

// part is one test binary.
type part struct {
	name    string
	results guest.Results
}

// notInGuest are tests that need programs which the guest, all of whose programs
// are one, does not have; the one that boots guests; and one that needs no kernel, and
// long where it is emulated.
const notInGuest = "^TestGuest|^TestKill$|^TestOpenReported$|^TestTextsFit$"

// partMark precedes the name of the part that begins.
const partMark = "guest-part "

// guestEnv: guests are slow, so they share the backends. LSM is tried with all
// kernels; modify-return with the newest, tracepoint with the oldest and natively.
// That the programs of all backends load is tried with each (TestVerifies).
func guestEnv(r guest.Release) map[string]string {
	backends := []string{lsm, modReturn}
	if r.Series == guest.Releases()[0].Series {
		backends[1] = tracepoint
	}
	return map[string]string{
		envBinary: "/usr/bin/bailiff", envBackends: strings.Join(backends, ","),
		envGuest: r.Series, "CI": "true",
	}
}

// run boots a guest and runs the test binaries of the host in it, one after the
// other. Without kernel or emulator it skips t.
func (s *session) run(t *testing.T, r guest.Release, env map[string]string, args string) {
	t.Helper()
	layer := "guest-" + r.Series
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	t.Cleanup(cancel)
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
	if run := os.Getenv(envRun); run != "" && !strings.Contains(args, "-test.run") {
		args += " -test.run '" + run + "'"
	}
	m := guest.Machine{
		Kernel: image,
		Files:  map[string]string{"usr/bin/bailiff": bin.bailiff, "usr/bin/e2e.test": bin.e2e, "usr/bin/bpf.test": bin.bpf},
		Script: guestScript(env, args),
		ICount: env[envBench] != "",
		Disk:   env[envBench] == "" || strings.Contains(args, "Digest"), // what is counted elsewhere needs none
	}
	if overlay := guest.Overlay(image); overlay != "" {
		m.Files[overlayModule] = overlay
	}
	s.out, s.err = m.Run(ctx, func(line string) {
		if name, ok := strings.CutPrefix(line, partMark); ok {
			s.parts = append(s.parts, &part{name: name})
		} else if len(s.parts) > 0 {
			s.parts[len(s.parts)-1].results.Line(line)
			progress(r.Series, line)
		}
	})
	if errors.Is(s.err, guest.ErrNoQEMU) || errors.Is(s.err, guest.ErrNoBusybox) {
		skipLayer(t, layer, s.err.Error())
	}
}

// check fails t if the guest did not end well.
func (s *session) check(t *testing.T) {
	t.Helper()
	switch {
	case s.err != nil:
		t.Error(s.err)
	case s.out.Exit != 0:
		t.Errorf("the tests in the guest ended with status %d", s.out.Exit)
	}
}

// guestScript is the shell script that runs the test binaries.
func guestScript(env map[string]string, args string) string {
	var b strings.Builder
	for k, v := range env {
		fmt.Fprintf(&b, "export %s=%s\n", k, v)
	}
	b.WriteString("cd /tmp\nstatus=0\n")
	for _, part := range []string{"bpf", "e2e"} {
		fmt.Fprintf(&b, "echo %s%s\n/usr/bin/%s.test -test.v=test2json -test.timeout 28m -test.skip '%s' %s || status=1\n",
			partMark, part, part, notInGuest, args)
	}
	return b.String() + "exit $status\n"
}

// progress shows what a guest does while it does it: guests take minutes, and
// go test shows the output of a test only after it.
func progress(series, line string) {
	if testing.Verbose() {
		fmt.Fprintf(os.Stderr, "guest %s: %s\n", series, strings.TrimPrefix(line, "\x16"))
	}
}

// TestGuestInstructions counts, with the guest's clock counting instructions,
// what enforcement adds to an open, and prints the figures.
func TestGuestInstructions(t *testing.T) { measureInGuests(t, "^TestFloor$|^TestInstructions$") }

// measureInGuests runs measurements in a guest for each kernel.
func measureInGuests(t *testing.T, tests string) {
	if os.Getenv(envBench) == "" || inGuest() {
		t.Skip("a measurement: make bench")
	}
	for _, r := range guest.Releases() {
		t.Run(r.Series, func(t *testing.T) {
			t.Parallel()
			env := guestEnv(r)
			env[envBench] = "1"
			var s session
			s.run(t, r, env, "-test.run '"+tests+"'")
			ran := 0
			for _, part := range s.parts {
				if part.results.Ran() { // most measurements are of one part
					ran++
					t.Run(part.name, part.results.Report)
				}
			}
			if ran == 0 {
				t.Errorf("the guest ran none of %s", tests)
			}
			s.check(t)
		})
	}
}

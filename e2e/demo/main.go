// Command demo shows Bailiff at work: it starts the agent with its embedded
// rules, limited to a cgroup made for the occasion, lets an innocent and a
// guilty program run in it, and shows the event stream beside what each of them
// got. It fails if the guilty one was not blocked.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"example.com/bailiff/e2e/guest"
	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

func main() {
	harness.RunIfAct()
	series := flag.String("guest", "", "run in a guest with this kernel series instead of on this machine")
	binary := flag.String("bailiff", "", "the bailiff program; built if not given")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := func() error { return onMachine(ctx, *binary) }
	if *series != "" {
		run = func() error { return inGuest(ctx, *series) }
	}
	if err := run(); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// onMachine plays the scene on the machine that the program runs on.
func onMachine(ctx context.Context, binary string) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("blocking programs needs root: run `sudo make demo`, or `make demo-guest` without root")
	}
	dir, err := os.MkdirTemp("", "bailiff-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if binary == "" {
		binary = filepath.Join(dir, "bailiff")
		if err := goBuild(ctx, binary, "example.com/bailiff/cmd/bailiff"); err != nil {
			return err
		}
	}
	cg, err := harness.NewCgroup("bailiff-demo")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cg.Remove()) }()
	say("cgroup", "%s: nothing outside of it is touched", cg.Dir)

	agent, refuses, err := start(ctx, binary, cg)
	if err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, agent.Stop(stop))
	}()
	s := &scene{ctx: ctx, agent: agent, cgroup: cg, dir: dir, refuses: refuses}
	return s.play()
}

// start runs the agent with the best backend that this machine has. Enforcing
// with one that cannot refuse, but kills, has to be asked for by name.
func start(ctx context.Context, binary string, cg *harness.Cgroup) (*harness.Agent, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	d, err := harness.Diagnose(ctx, binary)
	if err != nil {
		return nil, false, err
	}
	agent, err := harness.Start(ctx, harness.Config{Binary: binary, Mode: event.ModeEnforce, Cgroup: cg, Backend: d.Backend})
	if err != nil {
		return nil, false, err
	}
	say("agent", "enforces the embedded rules, backend %s", d.Backend)
	return agent, d.CanRefuse, nil
}

// inGuest plays the scene in a guest.
func inGuest(ctx context.Context, series string) error {
	var release *guest.Release
	for _, r := range guest.Releases() {
		if r.Series == series {
			release = &r
		}
	}
	if release == nil {
		return fmt.Errorf("there is no guest with kernel series %q", series)
	}
	image, err := release.Kernel(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bailiff-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files := map[string]string{}
	for name, pkg := range map[string]string{"bailiff": "example.com/bailiff/cmd/bailiff", "demo": "example.com/bailiff/e2e/demo"} {
		files["usr/bin/"+name] = filepath.Join(dir, name)
		if err := goBuild(ctx, filepath.Join(dir, name), pkg); err != nil {
			return err
		}
	}
	say("guest", "Linux %s, emulated: this takes a minute", series)
	m := guest.Machine{Kernel: image, Files: files, Script: "umask 077\necho 'root:*:20000:0:99999:7:::' > /etc/shadow\n/usr/bin/demo -bailiff /usr/bin/bailiff\n"}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	out, err := m.Run(ctx, func(line string) { fmt.Println(line) })
	if err == nil && out.Exit != 0 {
		err = fmt.Errorf("the demo in the guest ended with status %d", out.Exit)
	}
	return err
}

func goBuild(ctx context.Context, out, pkg string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", pkg, err, b)
	}
	return nil
}

// say prints one line with the name of who it is about.
func say(who, format string, args ...any) { sayTo(os.Stdout, who, format, args...) }

func sayTo(w io.Writer, who, format string, args ...any) {
	fmt.Fprintf(w, "%-9s| %s\n", who, fmt.Sprintf(format, args...))
}

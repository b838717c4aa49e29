package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// scene is the agent and where the programs play.
type scene struct {
	ctx     context.Context
	agent   *harness.Agent
	cgroup  *harness.Cgroup
	dir     string
	refuses bool // the backend refuses acts with EPERM
}

// play lets the programs run one after another.
func (s *scene) play() error {
	ctx, cancel := context.WithTimeout(s.ctx, 2*time.Minute)
	defer cancel()
	// The stream that is read is for checking, the one that is shown for people.
	shown, err := s.show()
	if err != nil {
		return err
	}
	defer shown()
	stream, err := s.agent.Follow(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()

	actor := harness.Actor{Cgroup: s.cgroup}
	say("innocent", "runs a program from its disk")
	if err := s.innocent(ctx, actor, stream); err != nil {
		return err
	}
	marker := filepath.Join(s.dir, "marker")
	program := filepath.Join(s.dir, "program")
	if err := harness.WriteProgram(program, harness.MarkerProgram(marker)); err != nil {
		return err
	}
	say("guilty", "runs a program that is only in memory; its first act would be to write %s", marker)
	o, err := actor.Do([]string{"memfd", program})
	if err != nil {
		return err
	}
	_, statErr := os.Stat(marker)
	say("guilty", "%s", s.fate(o))
	if err := s.blocked(ctx, stream, o, event.HookExec); err != nil {
		return err
	}
	if !errors.Is(statErr, os.ErrNotExist) {
		return fmt.Errorf("not blocked: the program wrote %s", marker)
	}
	say("guilty", "there is no %s: the program never ran", marker)
	if !s.refuses {
		say("note", "this kernel lets Bailiff refuse no open: reading /etc/shadow is shown by `make demo-guest`")
		return nil
	}
	say("guilty", "opens /etc/shadow")
	if o, err = actor.Do([]string{"open", "/etc/shadow"}); err != nil {
		return err
	}
	say("guilty", "%s", s.fate(o))
	return s.blocked(ctx, stream, o, event.HookOpen)
}

// innocent runs a program that no rule denies.
func (s *scene) innocent(ctx context.Context, actor harness.Actor, stream *harness.Stream) error {
	o, err := actor.Do([]string{"spawn", "/bin/true"})
	if err != nil {
		return err
	}
	say("innocent", "%s", s.fate(o))
	if o.Exit != 0 {
		return fmt.Errorf("the innocent program did not run: %v", o)
	}
	_, err = stream.Of(ctx, o.PID)
	return err
}

// fate says in words what became of a program.
func (s *scene) fate(o *harness.Outcome) string {
	switch {
	case o.Signal != 0:
		return fmt.Sprintf("got killed (%v) before its first instruction", o.Signal)
	case o.Last() != 0:
		return fmt.Sprintf("got %v (errno %d)", o.Last(), int(o.Last()))
	}
	return "was allowed"
}

// blocked checks that the act was denied, on record and for real.
func (s *scene) blocked(ctx context.Context, stream *harness.Stream, o *harness.Outcome, hook event.Hook) error {
	events, err := stream.Of(ctx, o.PID)
	if err != nil {
		return err
	}
	if s.refuses && o.Last() != syscall.EPERM || !s.refuses && o.Signal != syscall.SIGKILL {
		return fmt.Errorf("not blocked: %v", o)
	}
	for _, e := range events {
		if e.Hook == hook && e.Decision.Verdict == event.VerdictDeny && e.Decision.Effect != event.EffectNone {
			return nil
		}
	}
	return fmt.Errorf("blocked, but the stream does not tell of it (%d events of pid %d)", len(events), o.PID)
}

// show prints the event stream as `bailiff events` shows it to people, deny and
// alert verdicts in full, until the returned function is called.
func (s *scene) show() (func(), error) {
	cmd := exec.Command(s.agent.Binary, "events", "--socket", s.agent.Socket)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("show events: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for sc := bufio.NewScanner(out); sc.Scan(); {
			if line := strings.TrimRight(sc.Text(), " \r"); line != "" {
				say("  stream", "%s", line)
			}
		}
	}()
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-done
		_ = cmd.Wait()
	}, nil
}

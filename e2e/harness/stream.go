package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"example.com/bailiff/internal/event"
)

// Stream is a running `bailiff events -o json`.
type Stream struct {
	agent *Agent
	cmd   *exec.Cmd
	log   *logBuffer

	mu      sync.Mutex
	events  []*event.Event
	err     error         // set once, when the stream has ended
	changed chan struct{} // closed and replaced at each change
}

// Follow subscribes to the agent's events. It returns when the subscription
// stands: it runs a program in the agent's cgroup until that is seen.
func (a *Agent) Follow(ctx context.Context, args ...string) (*Stream, error) {
	s := &Stream{agent: a, log: &logBuffer{}, changed: make(chan struct{})}
	s.cmd = exec.Command(a.Binary, append([]string{"events", "-o", "json", "--socket", a.Socket}, args...)...)
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("follow events: %w", err)
	}
	go func() {
		sc := bufio.NewScanner(out)
		sc.Buffer(nil, 1<<22)
		for sc.Scan() {
			s.add(sc.Bytes())
		}
		s.end(errors.Join(sc.Err(), s.cmd.Wait()))
	}()
	for {
		o, err := Actor{Cgroup: a.Cgroup}.Do([]string{"nop"})
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		step, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err = s.Until(step, func(e *event.Event) bool { return e.Hook == event.HookExit && int(e.Process.PID) == o.PID })
		cancel()
		if err == nil {
			return s, nil
		}
		if ctx.Err() != nil || s.ended() != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
}

func (s *Stream) add(line []byte) {
	e := &event.Event{}
	err := json.Unmarshal(line, e)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = errors.Join(s.err, fmt.Errorf("read event: %w: %s", err, line))
	}
	s.events = append(s.events, e)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, errors.New("the event stream has ended"), err)
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Stream) ended() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Until waits for an event that matches and returns it.
func (s *Stream) Until(ctx context.Context, match func(*event.Event) bool) (*event.Event, error) {
	for seen := 0; ; {
		s.mu.Lock()
		events, err, changed := s.events, s.err, s.changed
		s.mu.Unlock()
		for ; seen < len(events); seen++ {
			if match(events[seen]) {
				return events[seen], nil
			}
		}
		if err != nil {
			return nil, fmt.Errorf("wait for event: %w: %s", err, s.log.String())
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for event: %w after %d others", ctx.Err(), len(events))
		}
	}
}

// Of waits until the process has been seen to exit and returns all its events,
// in order. The exit is the last record of a process, so none is missing.
func (s *Stream) Of(ctx context.Context, pid int) ([]*event.Event, error) {
	_, err := s.Until(ctx, func(e *event.Event) bool { return e.Hook == event.HookExit && int(e.Process.PID) == pid })
	var out []*event.Event
	for _, e := range s.All() {
		if int(e.Process.PID) == pid {
			out = append(out, e)
		}
	}
	return out, err
}

// All returns every event so far.
func (s *Stream) All() []*event.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.events[:len(s.events):len(s.events)]
}

// Close ends the subscription.
func (s *Stream) Close() error {
	_ = s.cmd.Process.Kill()
	for {
		s.mu.Lock()
		err, changed := s.err, s.changed
		s.mu.Unlock()
		if err != nil {
			return nil
		}
		<-changed
	}
}

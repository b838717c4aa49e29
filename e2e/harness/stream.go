package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"sync"

	"example.com/bailiff/internal/event"
)

// Stream is a running `bailiff events -o json`.
type Stream struct {
	cmd *exec.Cmd
	log *logBuffer

	mu      sync.Mutex
	started bool // the subscription stands
	events  []*event.Event
	forget  bool // events are only counted
	counts  map[event.Hook]uint64
	gaps    uint64        // events lost to this subscription
	err     error         // set when the stream has ended
	changed chan struct{} // closed and replaced at each change
}

// line is one line of `bailiff events -o json`: an event, or one of the others.
type line struct {
	event.Event
	Start *struct {
		AfterSeq uint64 `json:"after_seq"`
	} `json:"start"`
	Gap *struct {
		Count uint64 `json:"count"`
	} `json:"gap"`
}

// Follow subscribes to the agent's events, with further arguments of `bailiff
// events`. It returns when the subscription stands.
func (a *Agent) Follow(ctx context.Context, args ...string) (*Stream, error) {
	return a.follow(ctx, false, args)
}

// Tally is Follow for more events than one wants to keep: they are counted.
func (a *Agent) Tally(ctx context.Context, args ...string) (*Stream, error) {
	return a.follow(ctx, true, args)
}

func (a *Agent) follow(ctx context.Context, forget bool, args []string) (*Stream, error) {
	s := &Stream{log: &logBuffer{}, forget: forget, counts: map[event.Hook]uint64{}, changed: make(chan struct{})}
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
	if err := s.wait(ctx, func() bool { return s.started }); err != nil {
		return nil, errors.Join(fmt.Errorf("follow events: %w: %s", err, s.log), s.Close())
	}
	return s, nil
}

func (s *Stream) add(text []byte) {
	var l line
	err := json.Unmarshal(text, &l)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err != nil:
		s.err = errors.Join(s.err, fmt.Errorf("read event: %w: %s", err, text))
	case l.Start != nil:
		s.started = true
	case l.Gap != nil:
		s.gaps += l.Gap.Count
	default:
		s.counts[l.Hook]++
		if !s.forget {
			s.events = append(s.events, &l.Event)
		}
	}
	s.tell()
}

// tell wakes everybody who waits; s.mu is held.
func (s *Stream) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait returns when f holds; f is called with s.mu held.
func (s *Stream) wait(ctx context.Context, f func() bool) error {
	for {
		s.mu.Lock()
		ok, err, changed := f(), s.err, s.changed
		s.mu.Unlock()
		switch {
		case ok:
			return nil
		case err != nil:
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Stream) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, errors.New("the event stream has ended"), err)
	s.tell()
}

// Until waits for an event that matches and returns it.
func (s *Stream) Until(ctx context.Context, match func(*event.Event) bool) (hit *event.Event, err error) {
	seen := 0
	err = s.wait(ctx, func() bool {
		for ; seen < len(s.events) && hit == nil; seen++ {
			if match(s.events[seen]) {
				hit = s.events[seen]
			}
		}
		return hit != nil
	})
	if err != nil {
		return nil, fmt.Errorf("wait for event: %w after %d others: %s", err, seen, s.log)
	}
	return hit, nil
}

// Gaps returns how many events were lost to this subscription.
func (s *Stream) Gaps() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gaps
}

// Count returns how many events of a hook were received.
func (s *Stream) Count(h event.Hook) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[h]
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
	_ = s.wait(context.Background(), func() bool { return false }) // until it has ended
	return nil
}

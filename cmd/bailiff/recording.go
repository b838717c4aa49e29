package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/recorded"
	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// recordingHelp says what EVENTS may be, for the help of commands that take it.
const recordingHelp = `EVENTS is a spool directory, a file of lines as "bailiff events -o json" writes
them (plain or gzip), or - for standard input. Without it the running agent is
asked for what its spool holds.`

// recording is where recorded events come from, and which of them are wanted.
type recording struct {
	from          string // "": the running agent
	hooks         []string
	cgroups, exes []string
	since, until  string
	begin, end    time.Time
	filter        server.Filter
}

func (r *recording) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringSliceVar(&r.hooks, "hook", nil, "only exec, open, fork")
	f.StringArrayVar(&r.cgroups, "cgroup", nil, "only this cgroup and everything below, as path below the cgroup mount or with it")
	f.StringArrayVar(&r.exes, "exe", nil, "only programs whose path begins so")
	f.StringVar(&r.since, "since", "", "only from then on: a time (2026-11-22T10:00:00Z, 2026-11-22) or how long ago (24h)")
	f.StringVar(&r.until, "until", "", "only before then")
	_ = c.RegisterFlagCompletionFunc("hook", fixed("exec", "open", "fork"))
}

// fixed completes a flag or argument with one of these words.
func fixed(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// prepare reads the flags.
func (r *recording) prepare(args []string) error {
	if len(args) > 0 {
		r.from = args[0]
	}
	for _, s := range r.hooks {
		h, err := event.ParseHook(s)
		if err != nil {
			return usageError{fmt.Errorf("--hook: %w", err)}
		}
		r.filter.Hooks = append(r.filter.Hooks, h)
	}
	for _, c := range r.cgroups {
		r.filter.CgroupPrefixes = append(r.filter.CgroupPrefixes, "/"+strings.Trim(strings.TrimPrefix(c, cgroupMount()), "/"))
	}
	r.filter.ExePrefixes = r.exes
	var err error
	if r.begin, err = parseWhen(r.since, time.Now()); err != nil {
		return usageError{fmt.Errorf("--since: %w", err)}
	}
	if r.end, err = parseWhen(r.until, time.Now()); err != nil {
		return usageError{fmt.Errorf("--until: %w", err)}
	}
	return nil
}

// parseWhen reads a time, or how long before now.
func parseWhen(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a time nor a duration", s)
}

// summary is what a recording held. It stands in every answer that rests on one.
type summary struct {
	Source    string            `json:"source"`
	Events    uint64            `json:"events"` // acts that were looked at
	Hooks     map[string]uint64 `json:"hooks"`
	First     time.Time         `json:"first,omitzero"`
	Last      time.Time         `json:"last,omitzero"`
	Revisions map[string]uint64 `json:"revisions"`          // acts by the revision that judged them
	Lost      uint64            `json:"lost"`               // events that the recording does not have
	AtLeast   bool              `json:"at_least,omitempty"` // there may be more
	LostFor   map[string]uint64 `json:"lost_for,omitempty"` // by reason
}

func (s *summary) add(e *event.Event) {
	if s.Events++; s.Events == 1 || e.Time.Before(s.First) {
		s.First = e.Time
	}
	if e.Time.After(s.Last) {
		s.Last = e.Time
	}
	s.Hooks[e.Hook.String()]++
	if e.Decision.Revision != "" {
		s.Revisions[e.Decision.Revision]++
	}
}

// dropped counts what the kernel could not tell.
func (s *summary) dropped(n *event.Notice) {
	for reason, text := range n.Fields {
		if k, err := strconv.ParseUint(text, 10, 64); err == nil {
			s.Lost += k
			s.LostFor[reason] += k
		}
	}
}

// line says it to a person.
func (s *summary) line() string {
	if s.Events == 0 {
		return fmt.Sprintf("%s: no acts%s", visible(s.Source), s.lost())
	}
	var hooks []string
	for _, p := range event.Judged {
		for _, h := range p.Hooks() {
			if n := s.Hooks[h.String()]; n > 0 {
				hooks = append(hooks, fmt.Sprintf("%d %s", n, h))
			}
		}
	}
	return fmt.Sprintf("%s: %d acts (%s) from %s to %s%s", visible(s.Source), s.Events, strings.Join(hooks, ", "),
		s.First.Local().Format(time.DateTime), s.Last.Local().Format(time.DateTime), s.lost())
}

func (s *summary) lost() string {
	if s.Lost == 0 && !s.AtLeast {
		return ""
	}
	more := ""
	if s.AtLeast {
		more = " or more"
	}
	return fmt.Sprintf("; %d%s events are missing from it", s.Lost, more)
}

// read gives the judged acts of the recording that are wanted.
func (a *app) read(ctx context.Context, r *recording, yield func(*event.Event) error) (*summary, error) {
	return a.readRuns(ctx, r, func(_ string, e *event.Event) error { return yield(e) })
}

// readRuns is read with the run of each act; "" if the recording does not say.
func (a *app) readRuns(ctx context.Context, r *recording, yield func(run string, e *event.Event) error) (*summary, error) {
	s := &summary{Source: r.from, Hooks: map[string]uint64{}, Revisions: map[string]uint64{}, LostFor: map[string]uint64{}}
	take := func(rec recorded.Record) error {
		if g := rec.Gap; g != nil {
			s.Lost += g.Count
			s.AtLeast = s.AtLeast || g.AtLeast
			s.LostFor[g.Reason] += g.Count
			return nil
		}
		e := rec.Event
		if e.Agent != nil && e.Agent.Code == enforcer.NoticeEventsDropped {
			s.dropped(e.Agent)
			return nil
		}
		if e.Agent != nil || e.Hook == event.HookExit || !r.begin.IsZero() && e.Time.Before(r.begin) ||
			!r.end.IsZero() && !e.Time.Before(r.end) || !r.filter.Match(e) {
			return nil
		}
		s.add(e)
		return yield(rec.Run.ID, e)
	}
	var err error
	if r.from == "" {
		s.Source = "the agent's spool"
		err = a.readAgent(ctx, take)
	} else {
		if r.from == "-" {
			s.Source = "standard input"
		}
		err = recorded.Read(ctx, r.from, os.Stdin, take)
	}
	var hint string
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, recorded.ErrNotRecording):
		hint = "bailiff events --replay -o json makes such lines; a spool is a directory"
	case errors.Is(err, os.ErrNotExist):
		hint = "name a spool directory, a file of JSON lines, or - for standard input"
	default:
		return nil, err
	}
	return nil, &userError{Code: "recording", Why: err.Error(), Hint: hint}
}

// spoolStall is how long an agent may send nothing before what it has sent so
// far is taken for all that it has.
const spoolStall = 10 * time.Second

// readAgent reads what a running agent keeps, up to now.
func (a *app) readAgent(ctx context.Context, take func(recorded.Record) error) error {
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := bailiffv1.NewEventServiceClient(conn)
	now, err := whereNow(ctx, client)
	if err != nil {
		return a.callError(err)
	}
	s, err := client.Events(ctx, &bailiffv1.EventsRequest{After: &bailiffv1.Cursor{}})
	if err != nil {
		return a.callError(err)
	}
	stalled := make(chan struct{})
	timer := time.AfterFunc(spoolStall, func() { close(stalled); cancel() })
	defer timer.Stop()
	var own error
	err = recorded.Stream(s, now, func(r recorded.Record) error {
		timer.Reset(spoolStall)
		own = take(r)
		return own
	})
	select {
	case <-stalled:
		if now.Seq == 0 { // this run has not told anything yet
			return nil
		}
		return &userError{Code: "spool", Why: fmt.Sprintf("the agent has sent nothing for %v, and its newest event (%d) did not come", spoolStall, now.Seq),
			Hint: "bailiff status says whether its spool is well"}
	default:
	}
	if errors.Is(own, recorded.ErrEnough) {
		return nil
	}
	if err != nil && own == nil && !errors.Is(err, io.EOF) {
		return a.callError(err)
	}
	return own
}

// whereNow asks an agent for the position of its newest event.
func whereNow(ctx context.Context, client bailiffv1.EventServiceClient) (event.Position, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	live, err := client.Events(ctx, &bailiffv1.EventsRequest{WithoutNotices: true, Pids: []int32{-1}})
	if err != nil {
		return event.Position{}, err
	}
	m, err := live.Recv()
	if err != nil {
		return event.Position{}, err
	}
	s := m.GetRecords()[0].GetStart()
	return event.Position{Run: s.GetRunId(), Seq: s.GetAfterSeq()}, nil
}

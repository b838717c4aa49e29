package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding/gzip"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/filter"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/sink/ocsf"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// eventsFlags are the filters as a person writes them.
type eventsFlags struct {
	ocsfVersion  string // for -o ocsf
	alsoFindings bool

	hooks, verdicts, rules, cgroups, paths, exes []string
	pids                                         []int32
	cgroupIDs                                    []uint
	findings, noNotices, hello                   bool
	buffer                                       uint32
	limit                                        int
	until                                        []string
	cursorFile, consumer                         string
	replay                                       bool
	filter                                       string
	compress                                     bool
}

func (a *app) eventsCmd() *cobra.Command {
	var f eventsFlags
	c := &cobra.Command{
		Use:   "events",
		Short: "Follow what happens, and what was decided about it",
		Long: `Follow what happens, and what was decided about it, from now on; or, if the
agent keeps a spool, from where --cursor-file or --consumer stopped.

  time  verdict  hook  pid program → object  rule and effect  details

Verdicts are DENY (blocked), would-deny (would have been blocked in enforce
mode), alert, allow, and - for what was only reported. Names that contain
spaces, quotes or anything that is not printable stand in quotes, escaped.
All filters that are given must hold; of several values for one, any. --filter
takes an expression in CEL over the fields that rules read, and verdict, effect,
rule.id and more (docs/events.md); the agent evaluates it.

-o ocsf and -o ecs write what a SIEM takes, a line each (docs/siem.md).`,
		Example: `  bailiff events --filter 'process.uid >= 1000 && file.path.startsWith("/tmp/")'
  bailiff events --filter 'verdict == "deny" && "/usr/sbin/nginx" in process.ancestors'
  bailiff events --consumer siem -o json --filter 'rule.severity in ["high", "critical"]'
  bailiff events -o ocsf --cursor-file /var/lib/siem/cursor`,
		Annotations: map[string]string{"siem": "true"},
		Args:        cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			req, err := f.request()
			if err != nil {
				return err
			}
			return a.follow(c.Context(), req, &f)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.ocsfVersion, "ocsf-version", ocsf.Version18, "version of the schema for -o ocsf: 1.8.0 or 1.1.0")
	fl.BoolVar(&f.alsoFindings, "with-findings", false, "with -o ocsf: a Detection Finding beside each act that is denied or alerted on")
	_ = c.RegisterFlagCompletionFunc("ocsf-version", fixed(ocsf.Version18, ocsf.Version11))
	fl.StringSliceVar(&f.hooks, "hook", nil, "exec, open, fork, exit")
	fl.StringSliceVar(&f.verdicts, "verdict", nil, "deny (blocked or not), would-deny (alone), alert, allow, none")
	fl.StringSliceVar(&f.rules, "rule", nil, "rule id: it decided, or fired too")
	fl.Int32SliceVar(&f.pids, "pid", nil, "acting process, or the new one of a fork")
	fl.StringArrayVar(&f.cgroups, "cgroup", nil, "cgroup and everything below, as path below the cgroup mount or with it")
	fl.UintSliceVar(&f.cgroupIDs, "cgroup-id", nil, "cgroup id: inode of its directory")
	fl.StringArrayVar(&f.paths, "path", nil, "beginning of the path of the file that is acted on")
	fl.StringArrayVar(&f.exes, "exe", nil, "beginning of the path of the program that acts")
	fl.StringVar(&f.filter, "filter", "", "expression that must be true, for example 'process.uid >= 1000'")
	fl.BoolVar(&f.findings, "findings", false, "only deny, alert, and acts that passed unjudged")
	fl.BoolVar(&f.noNotices, "no-notices", false, "without records about the agent itself")
	fl.Uint32Var(&f.buffer, "buffer", 0, "events that the agent keeps for this client while it is busy (0: the agent's default)")
	fl.IntVar(&f.limit, "limit", 0, "end after this many events (notices are not counted)")
	fl.StringSliceVar(&f.until, "until-verdict", nil, "end after the first event with one of these verdicts")
	fl.StringVar(&f.cursorFile, "cursor-file", "", "go on after the event that this file names, and keep it up to date (no file yet: from the oldest event that the agent keeps)")
	fl.StringVar(&f.consumer, "consumer", "", "go on where this consumer stopped; the agent keeps its place under that name")
	fl.BoolVar(&f.compress, "compress", false, "let the agent compress the stream (gzip)")
	fl.BoolVar(&f.replay, "replay", false, "begin with the oldest event that the agent keeps")
	fl.BoolVar(&f.hello, "start", false, "say when the subscription is in place (json: always said)")
	return c
}

// request makes the filter for the agent.
func (f *eventsFlags) request() (*bailiffv1.EventsRequest, error) {
	r := &bailiffv1.EventsRequest{
		RuleIds: f.rules, Pids: f.pids, PathPrefixes: f.paths, ExePrefixes: f.exes,
		FindingsOnly: f.findings, WithoutNotices: f.noNotices, Buffer: f.buffer, Filter: f.filter,
	}
	if f.filter != "" {
		if _, err := filter.Compile(f.filter); err != nil {
			return nil, filterError(err)
		}
	}
	for _, s := range f.hooks {
		h, err := event.ParseHook(s)
		if err != nil {
			return nil, usageError{fmt.Errorf("--hook: %w", err)}
		}
		r.Hooks = append(r.Hooks, server.EncodeHook(h))
	}
	would := false
	for _, s := range f.verdicts {
		v, w, err := parseVerdict(s)
		if err != nil {
			return nil, usageError{fmt.Errorf("--verdict: %w", err)}
		}
		would = would || w
		r.Verdicts = append(r.Verdicts, server.EncodeVerdict(v))
	}
	if would {
		if len(f.verdicts) > 1 {
			return nil, usageError{errors.New("--verdict would-deny goes with no other verdict")}
		}
		r.Effects = []bailiffv1.Effect{bailiffv1.Effect_EFFECT_NONE}
	}
	for _, s := range f.until {
		if _, _, err := parseVerdict(s); err != nil {
			return nil, usageError{fmt.Errorf("--until-verdict: %w", err)}
		}
	}
	for _, c := range f.cgroups {
		r.CgroupPrefixes = append(r.CgroupPrefixes, "/"+strings.Trim(strings.TrimPrefix(c, cgroupMount()), "/"))
	}
	for _, id := range f.cgroupIDs {
		r.CgroupIds = append(r.CgroupIds, uint64(id))
	}
	if f.limit < 0 {
		return nil, usageError{fmt.Errorf("--limit %d is less than 0", f.limit)}
	}
	return r, f.place(r)
}

// filterError says where in the expression the mistake is.
func filterError(err error) error {
	var e *filter.Error
	if !errors.As(err, &e) {
		return err
	}
	return &userError{Code: "filter", Why: fmt.Sprintf("--filter:%d:%d: %s", e.Line, e.Column, e.Why), Hint: e.Hint}
}

// cgroupMount returns where the cgroup v2 tree is mounted, "" if it is not
// known: events name cgroups from there on.
func cgroupMount() string {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return ""
	}
	for l := range strings.Lines(string(b)) {
		if f := strings.Fields(l); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	return ""
}

func parseVerdict(s string) (v event.Verdict, would bool, err error) {
	if s == "would-deny" {
		return event.VerdictDeny, true, nil
	}
	v, err = event.ParseVerdict(s)
	return v, false, err
}

// follow prints the stream until it ends, the limit is reached, or the person
// has enough.
func (a *app) follow(ctx context.Context, r *bailiffv1.EventsRequest, f *eventsFlags) error {
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var how []grpc.CallOption
	if f.compress {
		how = append(how, grpc.UseCompressor(gzip.Name))
	}
	s, err := bailiffv1.NewEventServiceClient(conn).Events(ctx, r, how...)
	if err != nil {
		return a.callError(err)
	}
	p := &printer{app: a, flags: f, out: bufio.NewWriter(a.out), paint: a.paint()}
	at := &place{flags: f, client: bailiffv1.NewEventServiceClient(conn)}
	for {
		done, err := p.next(s, at)
		if flushErr := p.out.Flush(); err == nil && flushErr != nil {
			return fmt.Errorf("write events: %w", flushErr)
		}
		ending := done || err != nil || ctx.Err() != nil
		if saveErr := at.save(context.WithoutCancel(ctx), ending); saveErr != nil {
			return saveErr
		}
		switch {
		case done || ctx.Err() != nil:
			return nil
		case errors.Is(err, io.EOF):
			return &userError{Code: "agent-stopped", Why: "the agent has stopped"}
		case err != nil:
			return a.callError(err)
		}
	}
}

// printer writes records in the chosen form and counts them.
type printer struct {
	*app
	flags *eventsFlags
	out   *bufio.Writer
	paint paint
	n     int // events so far
	siem  *siemPrinter
}

// next prints one message of the stream; done when it was the last wanted.
func (p *printer) next(s grpc.ServerStreamingClient[bailiffv1.EventsResponse], at *place) (done bool, err error) {
	m, err := s.Recv()
	if err != nil {
		return false, err
	}
	for _, r := range m.GetRecords() {
		if err := p.print(r); err != nil {
			return false, err
		}
		at.pass(r)
		if p.last(r.GetEvent()) {
			return true, nil
		}
	}
	return false, nil
}

func (p *printer) last(e *bailiffv1.Event) bool {
	if e == nil || e.GetAgent() != nil {
		return false
	}
	p.n++
	if p.n == p.flags.limit {
		return true
	}
	d := server.Decode(e).Decision
	for _, s := range p.flags.until {
		if v, would, err := parseVerdict(s); err == nil && v == d.Verdict && (!would || d.WouldDeny()) {
			return true
		}
	}
	return false
}

// jsonEvent is an event as a line of JSON: text that is not UTF-8 stays
// escaped as it was sent, and the fields where that is so are listed.
type jsonEvent struct {
	*event.Event
	Process *event.Process `json:"process,omitempty"` // a notice has none
	Escaped []string       `json:"escaped,omitempty"`
}

// jsonGap and jsonStart are the other lines that a reader of JSON may see.
type jsonGap struct {
	Count    uint64 `json:"count"`
	FirstSeq uint64 `json:"first_seq"`
	LastSeq  uint64 `json:"last_seq"`
	Reason   string `json:"reason"`
	RunID    string `json:"run_id,omitempty"`
	AtLeast  bool   `json:"at_least,omitempty"`
}

type jsonStart struct {
	AgentVersion string `json:"agent_version"`
	BootID       string `json:"boot_id"`
	RunID        string `json:"run_id"`
	AfterSeq     uint64 `json:"after_seq"`
	Buffer       uint32 `json:"buffer"`
}

func (p *printer) print(r *bailiffv1.Record) error {
	if p.output == "text" {
		switch {
		case r.GetEvent() != nil:
			fmt.Fprintln(p.out, line(server.Decode(r.GetEvent()), p.paint))
		case r.GetGap() != nil:
			fmt.Fprintln(p.out, gapLine(r.GetGap(), p.paint))
		case r.GetStart() != nil && p.flags.hello:
			s := r.GetStart()
			fmt.Fprintf(p.out, "following events after %d of run %s\n", s.GetAfterSeq(), word(s.GetRunId()))
		}
		return nil
	}
	if p.output != "json" {
		return p.printSIEM(r)
	}
	var v any
	switch {
	case r.GetEvent() != nil:
		v = encodeEvent(r.GetEvent())
	case r.GetGap() != nil:
		g := r.GetGap()
		v = map[string]any{"gap": jsonGap{g.GetCount(), g.GetFirstSeq(), g.GetLastSeq(), server.GapReason(g.GetReason()), g.GetRunId(), g.GetAtLeast()}}
	case r.GetStart() != nil:
		s := r.GetStart()
		v = map[string]any{"start": jsonStart{s.GetAgentVersion(), s.GetBootId(), s.GetRunId(), s.GetAfterSeq(), s.GetBuffer()}}
	default:
		return nil // of a newer agent
	}
	b, err := jsonLine(v)
	if err != nil {
		return err
	}
	_, err = p.out.Write(b)
	return err
}

func encodeEvent(e *bailiffv1.Event) jsonEvent {
	escaped := e.GetEscaped()
	e.Escaped = nil // so that Decode leaves the text as it is
	out := jsonEvent{Event: server.Decode(e), Escaped: escaped}
	if e.GetProcess() != nil {
		out.Process = &out.Event.Process
	}
	e.Escaped = escaped
	return out
}

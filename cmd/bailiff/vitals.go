package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/canary"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// canaryConfig says how often the agent proves that it lives.
type canaryConfig struct {
	Every  time.Duration `yaml:"every"`
	Within time.Duration `yaml:"within"`
}

func (c *canaryConfig) flags(f *pflag.FlagSet) {
	f.DurationVar(&c.Every, "canary-every", 15*time.Second, "how often the agent executes itself and waits for that event to come out of the stream; 0: never")
	f.DurationVar(&c.Within, "canary-within", 5*time.Second, "how long that may take")
}

func (c *canaryConfig) validate() error {
	if c.Every != 0 && (c.Within < 100*time.Millisecond || c.Every < c.Within) {
		return &userError{Code: "config", Why: fmt.Sprintf("canary: every %v, within %v", c.Every, c.Within),
			Hint: "within is at least 100ms, and every at least within; every: 0s turns it off"}
	}
	return nil
}

// canaryWord as first argument makes this program end at once: being executed
// is all that it is for.
const canaryWord = "canary"

// vitals are the agent's signs of life: the canary, what health checks and
// systemd are told of it, and its conditions.
type vitals struct {
	ag     *agent
	hub    *server.Hub
	srv    *server.Server
	conn   *grpc.ClientConn
	canary *canary.Canary // nil: off
	every  time.Duration
	cage   cage
	daemon daemon

	once  sync.Once // the first round
	reads uint64    // events read by the enforcer at the last round
	stuck atomic.Bool
}

func newVitals(cfg *config, ag *agent, hub *server.Hub, srv *server.Server) (*vitals, error) {
	v := &vitals{ag: ag, hub: hub, srv: srv, cage: cage{scope: cfg.Scope}}
	if cfg.Canary.Every == 0 {
		return v, nil
	}
	var err error
	// As a client does: by the socket, not by a call within the process.
	if v.conn, err = grpc.NewClient("unix://"+cfg.Socket, grpc.WithTransportCredentials(insecure.NewCredentials())); err != nil {
		return nil, fmt.Errorf("dial %s: %w", cfg.Socket, err)
	}
	v.every = cfg.Canary.Every
	if dog := v.daemon.watchdog(); dog > 0 {
		v.every = min(v.every, dog/3)
	}
	v.canary = canary.New(canary.Options{
		Every: v.every, Within: min(cfg.Canary.Within, v.every), PID: os.Getpid(), Act: v.act, Follow: v.follow, Report: v.report,
	})
	return v, nil
}

// Emit implements enforcer.Sink.
func (v *vitals) Emit(e *event.Event) {
	if v.canary != nil {
		v.canary.Emit(e)
	}
}

// run does the rounds until the context ends. Before the first one nobody is
// told that the agent protects.
func (v *vitals) run(ctx context.Context) {
	defer v.cage.remove()
	var fed sync.WaitGroup
	defer fed.Wait()
	fed.Go(func() { v.daemon.feed(ctx, func() bool { return !v.stuck.Load() }) })
	if v.canary == nil {
		v.srv.SetServing(true)
		v.daemon.ready()
		<-ctx.Done()
		return
	}
	defer v.conn.Close()
	v.canary.Run(ctx)
}

// act executes this program. Where enforcement is limited to cgroups it is
// done in one of them: elsewhere nothing is told of it.
func (v *vitals) act(ctx context.Context, word string) error {
	cmd := exec.CommandContext(ctx, ownProgram(), canaryWord, word)
	cmd.Args[0], cmd.Dir, cmd.Env = "bailiff", "/", []string{"GOMAXPROCS=1"}
	err := v.cage.run(cmd)
	var exit *exec.ExitError
	if errors.Is(err, syscall.EPERM) || errors.As(err, &exit) {
		return nil // the policy denies it: there is an event all the same
	}
	return err
}

// follow reads execs from here on, out of the spool if there is one.
func (v *vitals) follow(ctx context.Context, ready func(), match func(*event.Event) bool) error {
	r := &bailiffv1.EventsRequest{Hooks: []bailiffv1.Hook{bailiffv1.Hook_HOOK_EXEC}, WithoutNotices: true}
	if v.ag.kept != nil {
		r.After = &bailiffv1.Cursor{RunId: v.hub.RunID, Seq: v.hub.LastSeq()}
	}
	s, err := bailiffv1.NewEventServiceClient(v.conn).Events(ctx, r, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		for _, rec := range m.GetRecords() {
			if rec.GetStart() != nil {
				ready()
			} else if e := rec.GetEvent(); e != nil && match(server.Decode(e)) {
				return nil
			}
		}
	}
}

// stageConditions are what is raised when a stage was not passed.
var stageConditions = map[canary.Stage]string{
	canary.StageAct: enforcer.CondCanaryUndone, canary.StageKernel: enforcer.CondCanaryUnseen,
	canary.StageSubscribe: enforcer.CondCanaryUndelivered, canary.StageStream: enforcer.CondCanaryUndelivered,
}

// report tells everybody what came of a round.
func (v *vitals) report(r canary.Result) {
	for _, code := range []string{enforcer.CondCanaryUndone, enforcer.CondCanaryUnseen, enforcer.CondCanaryUndelivered} {
		if stageConditions[r.Stage] == code {
			v.ag.Raise(code, stageText(r))
		} else {
			v.ag.Clear(code)
		}
	}
	seen := r.Seen > 0 || r.Stage == canary.StageAct
	v.srv.SetHealth(seen, seen && r.Stage != canary.StageStream && r.Stage != canary.StageSubscribe)
	// systemd is to restart what a restart mends: an agent that reads no
	// events at all, or a server that hangs. It would mend neither a full disk
	// nor a flood of events, and would end enforcement for a while.
	reads := v.ag.Enforcer.Status().Counters["events_read"]
	deaf := r.Stage == canary.StageKernel && reads == v.reads
	hangs := r.Stage == canary.StageSubscribe && r.Err == nil
	v.stuck.Store(deaf || hangs)
	v.reads = reads
	v.daemon.status(stageText(r))
	v.once.Do(v.daemon.ready)
}

func stageText(r canary.Result) string {
	text := map[canary.Stage]string{
		canary.StageDone: fmt.Sprintf("the agent's own act was decided after %s and streamed after %s", short(r.Seen), short(r.Streamed)),
		canary.StageAct:  "the agent's own act could not be done",
		// Kernel, ring and decision: none of them has an end of its own to look at.
		canary.StageKernel:    "no event of the agent's own act came from the kernel, through the ring and the decision",
		canary.StageSubscribe: "the agent's own act was decided, but the server took no subscription",
		canary.StageStream:    "the agent's own act was decided, but did not come through spool and stream",
	}[r.Stage]
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	return text
}

// short shows a latency.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// addVitals puts the signs of life into a status.
func (a *agent) addVitals(out *server.Status) {
	used, size := a.kernel.Ring()
	out.Ring = server.Ring{Used: uint64(used), Size: uint64(size)}
	if c := a.vitals.canary; c != nil {
		r := c.Last()
		out.Canary = &server.Canary{
			Every: c.Every, Within: c.Within, Time: r.At, Stage: string(r.Stage), Seen: r.Seen, Streamed: r.Streamed,
		}
		if r.Err != nil {
			out.Canary.Error = r.Err.Error()
		}
	}
	if a.kept == nil {
		return
	}
	s := a.kept.State()
	out.Spool = &server.SpoolState{Dir: s.Dir, Bytes: s.Bytes, MaxBytes: s.MaxBytes, Segments: uint32(s.Segments), Oldest: s.Oldest}
	for _, c := range s.Consumers {
		out.Spool.Consumers = append(out.Spool.Consumers, server.Consumer{Name: c.Name, Run: c.At.Run, Seq: c.At.Seq, Behind: c.Behind, Unknown: !c.Known})
	}
}

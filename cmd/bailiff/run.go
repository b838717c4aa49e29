package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"example.com/bailiff/bpf"
	"example.com/bailiff/enforcer"
	"example.com/bailiff/enforcer/gate"
	"example.com/bailiff/internal/digest"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/given"
	"example.com/bailiff/internal/rollout"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/spool"
	"example.com/bailiff/policy"
)

func (a *app) runCmd() *cobra.Command {
	var cfg config
	var file string
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the agent",
		Long: `Run the agent until SIGTERM or SIGINT. SIGHUP and any change of the bundle make
it read the bundle again. Flags go before the configuration file, which has the
same settings (docs/operating.md).`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if file != "" {
				if err := cfg.load(file, c.Flags()); err != nil {
					return err
				}
			}
			if cfg.Socket == "" || c.Flags().Changed("socket") {
				cfg.Socket = a.remote.socket
			}
			if err := cfg.validate(); err != nil {
				return err
			}
			return a.run(c.Context(), &cfg)
		},
	}
	c.Flags().StringVarP(&file, "config", "c", "", "configuration file (YAML)")
	cfg.flags(c.Flags())
	return c
}

// run is the wiring: it makes the parts, starts them from the inside out, and
// stops them from the outside in.
func (a *app) run(ctx context.Context, cfg *config) error {
	redactor, err := cfg.Redact.redactor()
	if err != nil {
		return err
	}
	log := hclog.New(&hclog.LoggerOptions{
		Name: "bailiff", Output: logWriter{a.err, redactor}, Level: hclog.LevelFromString(cfg.Log.Level), JSONFormat: cfg.Log.Format == "json",
	})
	modes, keptModes, keptErr, err := cfg.modes()
	if err != nil {
		return err
	}
	id, err := newIdentity()
	if err != nil {
		return err
	}
	packs, err := findPacks(cfg.Packs)
	if err != nil {
		return err
	}
	cfg.Policy.noDigests = noDigests(cfg.Backend, log)
	pace := &pacer{}
	from, err := cfg.Policy.open(cfg.Bundle, packs, pace, log)
	if err != nil {
		return err
	}
	ag := &agent{log: log, id: id, digests: digest.New(), scope: cfg.Scope, rescue: cfg.Rescue, bundle: bundles{from: from, pace: pace, packs: packs, noDigests: cfg.Policy.noDigests, wanted: modes}, explicit: cfg.Backend != bpf.BackendAuto,
		keptModes: keptModes, applied: &applied{dir: cfg.StateDir, open: cfg.openApplied(packs, pace, log)}}
	ag.probation = rollout.NewProbation(ag.probationEnded)

	// Changes are noticed from here on: what is read below is not missed when
	// it changes while the rest starts.
	ch := noticeChanges(from)
	defer ch.close()
	p, err := ag.firstPolicy(ctx, cfg, a.complain)
	if ctx.Err() != nil {
		return nil // told to stop while it waited for a bundle
	}
	if err != nil {
		return err
	}
	modes = ag.startModes(ctx, p, cfg.Force)

	// The socket is taken before the kernel is touched: a second agent ends here.
	hub := server.NewHub(id)
	srv, err := server.New(ctx, server.Options{
		Agent: ag, Hub: hub, Log: log, Socket: cfg.Socket, Listen: cfg.Listen.Address,
		TLS: server.TLS{
			Cert: cfg.Listen.Cert, Key: cfg.Listen.Key, ClientCA: cfg.Listen.ClientCA,
			Operators: cfg.Listen.Operators, Readers: cfg.Listen.Readers,
		},
	})
	if err != nil {
		return err
	}
	defer srv.Close()

	left, pin := readLeftovers(cfg, log), ""
	if cfg.Spool.Dir != spoolOff {
		pin = pinPrefix(cfg) + id.RunID
	}
	kernel, err := bpf.Open(ctx, bpf.Options{
		Pin:     pin,
		Backend: cfg.Backend, Scope: cfg.Scope, Rescue: cfg.Rescue,
		AllOpens: cfg.Events.AllOpens, Env: cfg.Events.Env, RingBytes: cfg.RingSize, Log: log.Named("bpf"),
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // told to stop while it started: no failure
	case err != nil:
		return &userError{Code: "kernel", Why: err.Error(), Hint: "run `bailiff doctor` to see what this kernel allows"}
	}
	defer closeKernel(kernel, log)
	ag.kernel = kernel

	if ag.gate = openGate(cfg, ag, log.Named("gate")); ag.gate != nil {
		defer closeGate(ag.gate, log)
		kernel.WaiveBy(ag.gate.Forget)
	}
	stats, out := newDecisions(), &ways{}
	out.prepare(cfg, event.Run{ID: id.RunID, Boot: id.BootID})
	ag.vitals, err = newVitals(cfg, ag, hub, srv)
	if err != nil {
		return err
	}
	ag.decided, err = openDecisionLog(cfg, ag)
	if err != nil {
		return err
	}
	defer ag.decided.stop()
	ag.Enforcer, err = enforcer.New(enforcer.Options{
		Kernel: kernel, Policy: p, Modes: modes, StepDown: enforcer.StepDown(cfg.StepDown), Sinks: ag.decided.sinks(stats, ag.vitals, hub, out),
		Redact: redactor.Event, Evaluated: stats.evaluated, Log: log,
		Backend: kernel.Backend(), Scope: cfg.Scope, Hold: ag.holding, Digest: ag.digests.Of, Verity: digest.Verity, Given: given.New().Of,
	})
	if err != nil {
		return err
	}
	if kernel.Backend() == bpf.BackendTracepoint && !ag.explicit {
		ag.why = whyNotBetter(bpf.Probe(ctx))
	}
	if ag.bundle.wanted.Enforces() {
		if err := ag.mayEnforce(event.ModeEnforce); err != nil {
			return err
		}
	}
	if keptErr != nil {
		ag.Raise(enforcer.CondModesNotKept, keptErr.Error())
	}
	kept, err := openSpool(cfg, ag, hub, left)
	if err != nil {
		return err
	}
	if kept != nil {
		defer func() { _ = kept.Close(spoolGrace) }() // of no effect if serve came to its end
	}
	if err := out.open(cfg, os.Stdout, ag, kept); err != nil {
		return err
	}
	ag.out = out
	if cfg.BPFStats {
		measuring, err := bpf.EnableStats()
		if err != nil {
			return &userError{Code: "bpf-stats", Why: err.Error(), Hint: "leave out --bpf-stats, or set kernel.bpf_stats_enabled=1 by sysctl"}
		}
		defer measuring.Close()
	}
	metrics := newCollector(ag, stats)
	metrics.redacted, metrics.programs = redactor.Counts, kernel.ProgramStats
	metrics.streams = func() (int, map[string]uint64) { return hub.Subscribers(), hub.Counters() }
	metrics.sinks = out.stats
	return serve(ctx, cfg, ag, srv, metrics, ch, kept)
}

// serve runs the parts. The enforcer is the innermost: it stops first, so that
// its last words still reach the subscribers.
func serve(ctx context.Context, cfg *config, ag *agent, srv *server.Server, metrics *collector, ch *changes, kept *spool.Log) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	serverCtx, stopServer := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServer()

	enforced := make(chan error, 1)
	go func() { enforced <- ag.Run(ctx) }()
	select {
	case <-ag.Ready():
	case err := <-enforced:
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return nil // told to stop before the first policy was in force
		}
		return err
	}
	ag.told()
	ag.tellLimits()
	ag.tellLockouts(ctx, ag.policyInForce())
	if err := trimMemory(); err != nil {
		ag.log.Warn("memory stays that only starting needed", "error", err)
	}
	sinksCtx, stopSinks := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSinks()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		ag.out.run(sinksCtx)
	}()

	served := make(chan error, 1)
	go func() {
		err := srv.Serve(serverCtx)
		if err != nil {
			stop()
		}
		served <- err
	}()
	measured := make(chan error, 1)
	go func() {
		err := serveMetrics(ctx, cfg.Metrics, metrics, ag.log)
		if err != nil {
			stop()
		}
		measured <- err
	}()
	tried := make(chan struct{})
	go func() {
		defer close(tried)
		ag.probation.Run(ctx)
	}()
	lived := make(chan struct{})
	go func() {
		defer close(lived)
		ag.vitals.run(ctx)
	}()
	followed := make(chan error, 1)
	go func() {
		err := ch.follow(ctx, ag)
		if err != nil {
			stop()
		}
		followed <- err
	}()

	err := <-enforced
	if err == nil && ctx.Err() == nil {
		err = errors.New("run agent: the kernel side has ended")
	}
	stop()
	ag.vitals.daemon.stopping()
	<-lived
	srv.SetServing(false)
	if kept != nil {
		// Before the server: those who read from it come to its end.
		err = errors.Join(err, kept.Close(spoolGrace))
	}
	ag.out.close()
	select {
	case <-drained:
	case <-time.After(sinkGrace):
		stopSinks()
		<-drained
	}
	stopServer()
	<-tried
	return errors.Join(err, <-followed, <-served, <-measured)
}

// firstPolicy loads the configured bundle, or the one that was applied in its
// place.
func (a *agent) firstPolicy(ctx context.Context, cfg *config, complain func(error)) (*policy.Policy, error) {
	a.bundle.started = a.bundle.pace.begin(0)
	p, report, err := a.bundle.first(ctx, cfg)
	if err != nil {
		return nil, err
	}
	a.configured = report.Revision
	origin := a.bundle.String()
	if !a.bundle.fallback {
		other, facts, err := a.applied.instead(ctx, report.Revision)
		switch {
		case err != nil:
			a.log.Error("the applied bundle cannot be used, the configured one is", "error", err)
		case other != nil:
			p, report, origin = other.Policy, other.Report, facts.origin()
		case facts.Name != "":
			a.log.Info("the configured bundle has changed since another was applied: the configured one is used", "applied", facts.Name)
			a.applied.forget(a.log)
		}
	}
	if a.bundle.fallback {
		origin = embedded
		complain(a.bundle.problem) // to who sits before it, or reads the journal: with place and mark
	}
	logReport(a.log, report)
	a.setPolicy(p, origin)
	return p, nil
}

func newIdentity() (server.Identity, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return server.Identity{}, fmt.Errorf("read boot id: %w", err)
	}
	return server.Identity{Version: readVersion().Version, BootID: strings.TrimSpace(string(boot)), RunID: rand.Text()[:12]}, nil
}

// whyNotBetter says what stands in the way of the backends that can refuse.
func whyNotBetter(features []bpf.Feature) string {
	var out []string
	for _, f := range features {
		if (f.Name == bpf.BackendLSM || f.Name == bpf.BackendModifyReturn) && f.State != "yes" {
			out = append(out, f.Name+": "+f.Why)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return " (" + strings.Join(out, "; ") + ")"
}

func closeGate(g *gate.Gate, log hclog.Logger) {
	if err := g.Close(); err != nil {
		log.Error("gate did not close well", "error", err)
	}
}

func closeKernel(k *bpf.Kernel, log hclog.Logger) {
	if err := k.Close(); err != nil {
		log.Error("cannot detach everything", "error", err)
		return
	}
	log.Info("detached, nothing stays behind")
}

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/bpf"
	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	"example.com/bailiff/internal/spool"
)

// BenchmarkRingToSpool is the agent's processor time for each event from the
// kernel's ring buffer to the disk: reading and decoding the record, process
// tree, baseline policy, hiding of secrets, numbering, encoding, spool. The events are recorded
// first, by the kernel in its ring, while nobody reads it; then the agent
// replays them. Half of the forks that a busy machine makes are followed by an
// exec: here each one is, so of three events one is a fork, one an exec (the
// dearest) and one an exit.
func BenchmarkRingToSpool(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("the kernel side needs root")
	}
	const spawns = 30000
	cgroup, err := harness.NewCgroup("bailiff-bench")
	if err != nil {
		b.Skip(err)
	}
	defer cgroup.Remove()
	// Not below /tmp: what is executed there is an alert, and this is about the
	// usual event, which is nobody's concern.
	dir, err := os.MkdirTemp(".", "testdata-bench-")
	if err != nil {
		b.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if dir, err = filepath.Abs(dir); err != nil {
		b.Fatal(err)
	}
	exit, spawner := filepath.Join(dir, "exit"), filepath.Join(dir, "spawner")
	for name, code := range map[string][]byte{exit: harness.ExitProgram(), spawner: harness.SpawnProgram(exit, spawns)} {
		if err := harness.WriteProgram(name, code); err != nil {
			b.Fatal(err)
		}
	}
	p, _, err := source("").load(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	var cpu, user time.Duration
	var events uint64
	for b.Loop() {
		b.StopTimer()
		c, u, n := ringToSpool(b, cgroup, spawner, filepath.Join(dir, "spool"), p)
		cpu, user, events = cpu+c, user+u, events+n
		b.StartTimer()
	}
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(events), "cpu-ns/event")
	b.ReportMetric(float64(user.Nanoseconds())/float64(events), "user-ns/event")
	b.ReportMetric(float64(events)/float64(b.N), "events/op")
	b.ReportMetric(0, "ns/op")
}

// held is the kernel side, but for its events: they stay in the ring until go.
type held struct {
	*bpf.Kernel
	let chan struct{}
}

func (h held) Next(ctx context.Context) (*event.Event, error) {
	select {
	case <-h.let:
	default:
		select {
		case <-h.let:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return h.Kernel.Next(ctx)
}

func ringToSpool(b *testing.B, cgroup *harness.Cgroup, spawner, dir string, p enforcer.Policy) (cpu, user time.Duration, events uint64) {
	b.Helper()
	k, err := bpf.Open(b.Context(), bpf.Options{Scope: []string{cgroup.Dir}, RingBytes: 128 << 20, Env: []string{"LD_PRELOAD"}})
	if err != nil {
		b.Skip(err)
	}
	defer k.Close()
	log, err := spool.Open(spool.Options{Dir: dir, Run: event.Run{ID: "bench"}, QueueBytes: 64 << 20})
	if err != nil {
		b.Fatal(err)
	}
	hub := server.NewHub(server.Identity{RunID: "bench"})
	hub.SetSpool(log)
	hide, err := (&redactConfig{Defaults: true}).redactor()
	if err != nil {
		b.Fatal(err)
	}
	kernel := held{k, make(chan struct{})}
	e, err := enforcer.New(enforcer.Options{Kernel: kernel, Policy: p, Sinks: []enforcer.Sink{&decisions{}, hub}, Redact: hide.Event})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	<-e.Ready()
	c := exec.Command(spawner)
	cgroup.Put(c)
	if err := c.Run(); err != nil {
		b.Fatal(err)
	}
	n, err := k.Counters()
	if err != nil || n["drop_ring_full_exec"]+n["drop_ring_full_fork"]+n["drop_ring_full_exit"] > 0 {
		b.Fatalf("not all could be recorded: %v, %v", n, err)
	}
	events = n["events_exec"] + n["events_fork"] + n["events_exit"] + n["events_open"]
	runtime.GC()
	was := rusage(b)
	close(kernel.let)
	for e.Status().Counters["events_emitted"] < events {
		time.Sleep(5 * time.Millisecond)
	}
	if err := log.Close(20 * time.Second); err != nil {
		b.Fatal(err)
	}
	is := rusage(b)
	if lost := log.Counters(); lost["spool_lost_queue"]+lost["spool_lost_write"] > 0 {
		b.Errorf("not all was kept: %v", lost)
	}
	stop()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	if n := e.Status().Counters["policy_evaluations"]; n > 0 {
		b.Logf("the policy was asked %d times", n)
	}
	user = time.Duration(is.Utime.Nano() - was.Utime.Nano())
	return user + time.Duration(is.Stime.Nano()-was.Stime.Nano()), user, events
}

func rusage(b *testing.B) (u unix.Rusage) {
	b.Helper()
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u
}

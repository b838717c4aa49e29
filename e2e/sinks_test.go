package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	server "github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/recorded"
	"example.com/bailiff/internal/sink/sinktest"
)

// sinkWorld is an agent with every way out switched on, each to a real
// receiver.
type sinkWorld struct {
	*world
	collector *sinktest.Collector
	rsyslog   *sinktest.Rsyslog
	bus       *server.Server
	busDir    string
	busPort   int
	config    string
}

func newSinkWorld(t *testing.T) *sinkWorld {
	w := &sinkWorld{world: newWorld(t, tracepoint), busDir: t.TempDir(), busPort: server.RANDOM_PORT}
	w.policy(map[string]any{"programs": []string{w.path("denied")}, "directories": []string{}, "parents": []string{}}, map[string]string{"exec": execPolicy})
	w.keep = w.path("run")
	w.must(os.Mkdir(w.keep, 0o700))
	certs := sinktest.MakeCerts(t)
	w.collector, w.rsyslog = sinktest.NewCollector(t, certs), sinktest.NewRsyslog(t, certs)
	w.startBus()
	t.Cleanup(w.stopBus)
	w.config = w.path("config.yaml")
	w.write(w.config, fmt.Appendf(nil, `
cluster: e2e
sinks:
  - {type: file, path: %[1]s/ocsf.jsonl, findings: true, max_bytes: 1000000, keep: 1000}
  - {type: file, name: json, format: json, path: %[1]s/events.jsonl}
  - {type: otlp, format: ecs, address: "%[2]s", ca: %[3]s, cert: %[4]s, key: %[5]s}
  - {type: nats, servers: ["nats://127.0.0.1:%[6]d"], stream: BAILIFF}
  - {type: syslog, address: "%[7]s", ca: %[3]s, cert: %[4]s, key: %[5]s}
`, w.dir, w.collector.Address, certs.CA, certs.ClientCert, certs.ClientKey, w.busPort, w.rsyslog.Address), 0o600)
	return w
}

func (w *sinkWorld) startBus() {
	w.t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: w.busPort, JetStream: true, StoreDir: w.busDir, NoSigs: true, NoLog: true})
	w.must(err)
	s.Start()
	if !s.ReadyForConnections(patience) {
		w.t.Fatal("nats-server does not start")
	}
	w.bus = s
	_, port, _ := strings.Cut(s.Addr().String(), "127.0.0.1:")
	_, err = fmt.Sscan(port, &w.busPort)
	w.must(err)
}

func (w *sinkWorld) stopBus() {
	w.bus.Shutdown()
	w.bus.WaitForShutdown()
}

// act forks n processes, which end with status 7, and waits until the agent has
// told of them all. One denied program is tried, too.
func (w *sinkWorld) act(n int) {
	w.t.Helper()
	w.do(w.actor(), []string{"fork", fmt.Sprint(n)})
	w.write(w.path("denied"), []byte("#!/bin/true\n"), 0o755)
	w.do(w.actor(), []string{"spawn", w.path("denied")})
}

// drained waits until every receiver has confirmed everything.
func (w *sinkWorld) drained() (through uint64) {
	w.t.Helper()
	eventually(w.t, "all ways out have delivered", func() bool {
		s, err := w.agent.Status(w.wait())
		if err != nil {
			return false
		}
		for _, name := range []string{"file", "json", "otlp", "nats", "syslog"} {
			lag, there := s.Counters["sink_"+name+"_lag"]
			if !there || lag > 0 {
				return false
			}
		}
		through = s.Counters["events_emitted"]
		return true
	})
	return through
}

// spooled reads what the agent has kept: the ids of all events, and how many
// processes ended as the acts made them end. Whatever comes after the given
// event of the last run is left out.
func (w *sinkWorld) spooled(through uint64) (ids []string, exits int) {
	w.t.Helper()
	var last event.Run
	w.must(recorded.Read(w.t.Context(), filepath.Join(w.keep, "spool"), nil, func(r recorded.Record) error {
		if r.Gap != nil {
			w.t.Errorf("the spool has a gap: %+v", *r.Gap)
			return nil
		}
		last = r.Run
		ids = append(ids, fmt.Sprintf("%s/%s/%d", r.Run.Boot, r.Run.ID, r.Event.Seq))
		if r.Event.Hook == event.HookExit && r.Event.Exit.Code == 7 {
			exits++
		}
		return nil
	}))
	return upTo(ids, last.ID, through), exits
}

// upTo leaves out what comes after an event of a run, and findings, which are
// second records of an event.
func upTo(ids []string, run string, through uint64) (out []string) {
	for _, id := range ids {
		var seq uint64
		parts := strings.Split(id, "/")
		if _, err := fmt.Sscan(parts[2], &seq); err == nil && (parts[1] != run || seq <= through) && len(parts) == 3 {
			out = append(out, id)
		}
	}
	return out
}

// received collects the ids that each receiver has.
func (w *sinkWorld) received() map[string][]string {
	w.t.Helper()
	out := map[string][]string{}
	files, err := filepath.Glob(w.path("ocsf.jsonl*"))
	w.must(err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		w.must(err)
		out["file"] = append(out["file"], ocsfIDs(w.t, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"))...)
	}
	w.must(recorded.Read(w.t.Context(), w.path("events.jsonl"), nil, func(r recorded.Record) error {
		out["json"] = append(out["json"], fmt.Sprintf("%s/%s/%d", r.Run.Boot, r.Run.ID, r.Event.Seq))
		return nil
	}))
	for _, r := range w.collector.Records() {
		out["otlp"] = append(out["otlp"], r.ID())
	}
	var messages []string
	for _, l := range w.rsyslog.Lines() {
		_, body, _ := strings.Cut(l, "\ufeff")
		messages = append(messages, body)
	}
	out["syslog"] = ocsfIDs(w.t, messages)
	out["nats"] = w.onBus()
	return out
}

func (w *sinkWorld) onBus() (ids []string) {
	w.t.Helper()
	nc, err := client.Connect(fmt.Sprintf("nats://127.0.0.1:%d", w.busPort))
	w.must(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	w.must(err)
	stream, err := js.Stream(w.t.Context(), "BAILIFF")
	w.must(err)
	info, err := stream.Info(w.t.Context())
	w.must(err)
	c, err := js.OrderedConsumer(w.t.Context(), "BAILIFF", jetstream.OrderedConsumerConfig{FilterSubjects: []string{"bailiff.events.e2e.>"}})
	w.must(err)
	for uint64(len(ids)) < info.State.Msgs {
		m, err := c.Next()
		w.must(err)
		ids = append(ids, m.Headers().Get(client.MsgIdHdr))
	}
	return ids
}

func ocsfIDs(t *testing.T, lines []string) (ids []string) {
	t.Helper()
	for _, l := range lines {
		var r struct{ Metadata struct{ UID string } }
		if err := json.Unmarshal([]byte(l), &r); err != nil {
			t.Fatalf("%v: %q", err, l)
		}
		ids = append(ids, r.Metadata.UID)
	}
	return ids
}

// TestNativeSinks: every way out at once, while receivers go away and come back
// and the agent is killed: each receiver has exactly the events that were made.
func TestNativeSinks(t *testing.T) {
	if inGuest() {
		t.Skip("natively only: the receivers are not in the guest")
	}
	backends(t)
	w := newSinkWorld(t)
	start := func() { w.start(event.ModeEnforce, "--config", w.config) }
	start()
	w.act(200)
	w.drained()

	w.collector.Stop()
	w.rsyslog.Stop()
	w.stopBus()
	w.act(300)
	eventually(t, "the agent says that receivers are away", func() bool {
		s, err := w.agent.Status(w.wait())
		return err == nil && len(s.Conditions) == 1 && s.Conditions[0].Code == "sink-failing"
	})
	w.must(w.agent.Kill())
	start()
	w.act(100)
	w.collector.Start()
	w.rsyslog.Start()
	w.startBus()
	through := w.drained()
	eventually(t, "the condition is over", func() bool {
		s, err := w.agent.Status(w.wait())
		return err == nil && len(s.Conditions) == 0
	})
	w.stop()

	want, exits := w.spooled(through)
	if exits != 600 {
		t.Errorf("%d processes ended as the acts made them, want 600", exits)
	}
	run := strings.Split(want[len(want)-1], "/")[1]
	eventually(t, "rsyslog has written all of it", func() bool {
		lines := w.rsyslog.Lines()
		return len(lines) > 0 && strings.Contains(strings.Join(lines[max(0, len(lines)-200):], "\n"), want[len(want)-1])
	})
	for name, got := range w.received() {
		again := sinktest.Compare(t, upTo(got, run, through), want)
		t.Logf("%s: %d events, %d of them twice", name, len(want), again)
		if again > 0 && name == "nats" {
			t.Errorf("%s: %d twice", name, again)
		}
	}
	w.examples(want, run, through)
}

// examples runs the clients that are made from the proto alone against an agent
// that has all of it in its spool, each in two goes.
func (w *sinkWorld) examples(want []string, run string, through uint64) {
	w.t.Helper()
	w.start(event.ModeEnforce)
	defer w.stop()
	stubs := w.path("stubs")
	w.must(os.Mkdir(stubs, 0o755))
	for name, command := range map[string][]string{
		"go":     {w.path("example")},
		"python": {"/usr/bin/python3", "../docs/examples/python/siem.py"},
	} {
		if name == "go" {
			w.must(goBuild(w.t.Context(), w.path("example"), "build", "-o", w.path("example"), "../docs/examples/go"))
		} else if !w.python(stubs) {
			continue
		}
		var seqs int
		for _, limit := range []int{100, len(want) - 100} {
			args := append(command[1:], "-socket", w.agent.Socket, "-cursor", w.path(name+".place"), "-limit", fmt.Sprint(limit))
			if name == "python" {
				for i := range args {
					if strings.HasPrefix(args[i], "-") {
						args[i] = "-" + args[i]
					}
				}
			}
			cmd := exec.CommandContext(w.wait(), command[0], args...)
			cmd.Env = append(os.Environ(), "PYTHONPATH="+stubs)
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err != nil {
				w.t.Fatalf("%s: %v", name, err)
			}
			seqs += strings.Count(string(out), "\n")
		}
		b, err := os.ReadFile(w.path(name + ".place"))
		w.must(err)
		var place struct {
			RunID string `json:"run_id"`
			Seq   uint64 `json:"seq"`
		}
		w.must(json.Unmarshal(b, &place))
		if seqs != len(want) || place.RunID != run || place.Seq != through {
			w.t.Errorf("%s: %d records, place %+v; want %d, run %s, %d", name, seqs, place, len(want), run, through)
		}
	}
}

// python makes the messages for the Python client.
func (w *sinkWorld) python(stubs string) bool {
	w.t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").Run(); err != nil {
		sinktest.Missing(w.t, "python3-grpcio and python3-protobuf")
		return false
	}
	out, err := exec.Command("protoc", "-I", "../proto", "--python_out="+stubs, "../proto/bailiff/v1/event.proto", "../proto/bailiff/v1/event_service.proto").CombinedOutput()
	if err != nil {
		w.t.Fatalf("protoc: %v: %s", err, out)
	}
	return true
}

package nats

import (
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	server "github.com/nats-io/nats-server/v2/server"
	client "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/ecs"
	"example.com/bailiff/internal/sink/sinktest"
)

// bus is a real nats-server with JetStream on a real port.
type bus struct {
	t    *testing.T
	dir  string
	port int
	s    *server.Server
}

func newBus(t *testing.T) *bus {
	b := &bus{t: t, dir: t.TempDir(), port: server.RANDOM_PORT}
	b.start()
	t.Cleanup(b.stop)
	return b
}

func (b *bus) start() {
	b.t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: b.port, JetStream: true, StoreDir: b.dir, NoSigs: true, NoLog: true, MaxPayload: 16 << 10})
	if err != nil {
		b.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(sinktest.Patience) {
		b.t.Fatal("nats-server does not start")
	}
	b.s, b.port = s, s.Addr().(*net.TCPAddr).Port
}

func (b *bus) stop() {
	b.s.Shutdown()
	b.s.WaitForShutdown()
}

func (b *bus) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", b.port) }

func host(node string) sink.Host {
	h := sinktest.Host()
	h.Name = node
	return h
}

// stream reads all that the bus has, as one member of a consumer group.
func (b *bus) consumer(group, subject string) jetstream.Consumer {
	b.t.Helper()
	nc, err := client.Connect(b.url())
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := js.CreateOrUpdateConsumer(b.t.Context(), "BAILIFF", jetstream.ConsumerConfig{Durable: group, FilterSubject: subject, AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		b.t.Fatal(err)
	}
	return c
}

// drain takes what there is for a group, with two members at once.
func (b *bus) drain(group, subject string) (ids, subjects []string) {
	b.t.Helper()
	var mu sync.Mutex
	var members sync.WaitGroup
	for range 2 {
		c := b.consumer(group, subject)
		members.Add(1)
		go func() {
			defer members.Done()
			for {
				batch, err := c.Fetch(500, jetstream.FetchMaxWait(time.Second))
				if err != nil {
					b.t.Error(err)
					return
				}
				n := 0
				for m := range batch.Messages() {
					n++
					mu.Lock()
					ids, subjects = append(ids, m.Headers().Get(client.MsgIdHdr)), append(subjects, m.Subject())
					mu.Unlock()
					if err := m.Ack(); err != nil {
						b.t.Error(err)
					}
				}
				if n == 0 {
					return
				}
			}
		}()
	}
	members.Wait()
	return ids, subjects
}

// TestAwayAndBack: the bus goes away in the middle, and comes back: nothing is
// missing, and nothing is twice, as the stream knows the ids.
func TestAwayAndBack(t *testing.T) {
	b := newBus(t)
	r := sinktest.NewRig(t)
	o := Options{Servers: []string{b.url()}, Stream: "BAILIFF", Host: host("web-1.example.com"), Timeout: 3 * time.Second}
	m := ecs.New(o.Host)
	r.Start(m, New(o))
	r.Emit(2000)
	r.Drained()
	r.Emit(3000)
	b.stop()
	sinktest.Eventually(t, "the bus is missed", func() bool { return r.Trouble() != nil })
	r.Emit(1000)
	r.Restart() // the agent, too
	r.Start(m, New(o))
	b.start()
	r.Emit(500)
	r.Drained()
	ids, subjects := b.drain("siem", "bailiff.events.>")
	if again := sinktest.Compare(t, ids, r.All()); again > 0 {
		t.Errorf("%d are twice in the stream", again)
	}
	count := map[string]int{}
	for _, s := range subjects {
		count[s]++
	}
	const tree = "bailiff.events.prod.web-1_example_com.exec."
	if len(count) != 2 || count[tree+"deny"] != 650 || count[tree+"none"] != 5850 {
		t.Errorf("subjects %v", count)
	}
}

// TestManyAgents: several agents on one bus, and consumers that take parts of
// it: a kind of verdict, one node, all of it shared by a group.
func TestManyAgents(t *testing.T) {
	b := newBus(t)
	var all []string
	for _, node := range []string{"a", "b", "c"} {
		r := sinktest.NewRig(t)
		o := Options{Servers: []string{b.url()}, Stream: "BAILIFF", Host: host(node)}
		// Same run id on each: the boot id tells machines apart in real life.
		r.Tune = func(o *sink.Options) {
			inner := o.Mapper
			o.Mapper = renamed{inner, node}
		}
		r.Start(ecs.New(o.Host), New(o))
		for _, id := range r.Emit(400) {
			all = append(all, node+"/"+id)
		}
		r.Drained()
	}
	ids, _ := b.drain("everything", "bailiff.events.>")
	if again := sinktest.Compare(t, ids, all); again > 0 {
		t.Errorf("%d came twice to the group", again)
	}
	if denied, _ := b.drain("denials", "bailiff.events.*.*.*.deny"); len(denied) != 120 {
		t.Errorf("%d denials, want 120", len(denied))
	}
	if node, _ := b.drain("node", "bailiff.events.prod.b.>"); len(node) != 400 {
		t.Errorf("%d of node b, want 400", len(node))
	}
}

type renamed struct {
	sink.Mapper
	node string
}

func (r renamed) Map(dst []sink.Record, it *sink.Item) []sink.Record {
	n := len(dst)
	dst = r.Mapper.Map(dst, it)
	for i := range dst[n:] {
		dst[n+i].ID = r.node + "/" + dst[n+i].ID
	}
	return dst
}

// TestTooLarge: what the bus never takes does not stand in the way.
func TestTooLarge(t *testing.T) {
	b := newBus(t)
	s := New(Options{Servers: []string{b.url()}, Stream: "BAILIFF", Host: host("a")})
	defer s.Close()
	items := sinktest.Events()
	rejected, err := s.Send(t.Context(), []sink.Record{
		{ID: "1", Item: items[0].Item, Body: make([]byte, 17<<10)}, {ID: "2", Item: items[0].Item, Body: []byte("{}")},
	})
	if err != nil || rejected != 1 {
		t.Fatalf("rejected %d, %v", rejected, err)
	}
	if _, err := s.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestNoStream: without a stream nobody has the events, and that is an error.
func TestNoStream(t *testing.T) {
	b := newBus(t)
	s := New(Options{Servers: []string{b.url()}, Host: host("a"), Timeout: 5 * time.Second})
	defer s.Close()
	_, err := s.Send(t.Context(), []sink.Record{{ID: "1", Item: sinktest.Events()[0].Item, Body: []byte("{}")}})
	if err == nil {
		_, err = s.Confirm(t.Context())
	}
	if err == nil {
		t.Error("no stream, no error")
	}
}

func TestTokens(t *testing.T) {
	for in, want := range map[string]string{"": "x", "a.b": "a_b", "a b*>\n\xff": "a_b____", "café": "café"} {
		if got := token(in, "x"); got != want {
			t.Errorf("%q makes %q, want %q", in, got, want)
		}
	}
}

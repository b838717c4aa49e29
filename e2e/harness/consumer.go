package harness

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// ackEvery is how often a Consumer says what it has.
const ackEvery = 100 * time.Millisecond

// Consumer is what a SIEM's client is: it reads on where it acknowledged,
// counts each number of each run once, and acknowledges. It outlives the
// connections that it is given. Events stay bytes: only number, time and hook
// are looked at, so that it takes little of the machine.
type Consumer struct {
	Name   string // under which the agent keeps its place; "": the live stream
	Filter *bailiffv1.EventsRequest
	Each   func(event []byte) error // if not nil, gets each event once, in its wire form

	mu      sync.Mutex
	order   []string // runs as they came
	runs    map[string]*RunTally
	run     *RunTally       // of the newest record
	next    string          // run of the newest Start: of the events that follow
	late    []time.Duration // from the kernel's time to here, if Timed
	timed   bool
	twice   uint64 // numbers that came again
	changed chan struct{}
}

// RunTally is what a Consumer got of one run.
type RunTally struct {
	ID      string
	Last    uint64 // everything up to this number is delivered or declared lost
	Acked   uint64 // and everything up to this one is acknowledged
	Acts    map[event.Hook]uint64
	Notices uint64
	Lost    map[bailiffv1.GapReason]uint64
	AtLeast bool   // a gap said that it does not know
	Holes   uint64 // numbers that neither came nor were declared lost
}

// AllActs returns the number of acts that were delivered.
func (r *RunTally) AllActs() (n uint64) {
	for _, k := range r.Acts {
		n += k
	}
	return n
}

// AllLost returns the number of events that were declared lost.
func (r *RunTally) AllLost() (n uint64) {
	for _, k := range r.Lost {
		n += k
	}
	return n
}

// Time makes the consumer note how long events took to come.
func (c *Consumer) Time() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.timed = true
}

// Latencies returns what was noted, sorted.
func (c *Consumer) Latencies() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(slices.Values(c.late))
}

// Runs returns what was received of each run, in order, and how many numbers
// came more than once.
func (c *Consumer) Runs() (out []RunTally, twice uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, id := range c.order {
		r := *c.runs[id]
		r.Acts, r.Lost = maps.Clone(r.Acts), maps.Clone(r.Lost)
		out = append(out, r)
	}
	return out, c.twice
}

// Until waits until f holds for what was received.
func (c *Consumer) Until(ctx context.Context, f func([]RunTally) bool) error {
	for {
		c.mu.Lock()
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed := c.changed
		c.mu.Unlock()
		if runs, _ := c.Runs(); f(runs) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Subscribed waits until the agent has said that it will send what happens.
func (c *Consumer) Subscribed(ctx context.Context) error {
	return c.Until(ctx, func([]RunTally) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.next != ""
	})
}

// Follow reads from the agent behind a socket until the context ends (nil) or
// the stream does. What was received is acknowledged before it returns, if the
// agent is still there.
func (c *Consumer) Follow(ctx context.Context, socket string) error {
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := bailiffv1.NewEventServiceClient(conn)
	req := &bailiffv1.EventsRequest{}
	if c.Filter != nil {
		req = proto.CloneOf(c.Filter)
	}
	req.Consumer = c.Name
	desc := &bailiffv1.EventService_ServiceDesc.Streams[0]
	s, err := conn.NewStream(ctx, desc, bailiffv1.EventService_Events_FullMethodName, grpc.ForceCodecV2(bytesCodec{encoding.GetCodecV2("proto")}))
	if err != nil {
		return err
	}
	if err := errors.Join(s.SendMsg(req), s.CloseSend()); err != nil {
		return err
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		c.keepAcknowledging(context.WithoutCancel(ctx), client, stop)
	}()
	for err == nil {
		var m []byte
		if err = s.RecvMsg(&m); err == nil {
			err = c.take(m)
		}
	}
	close(stop)
	<-stopped
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("follow events: %w", err)
}

// keepAcknowledging acknowledges now and then, and at the end. An agent that is
// gone is not an error here: what it did not hear it sends again.
func (c *Consumer) keepAcknowledging(ctx context.Context, client bailiffv1.EventServiceClient, stop chan struct{}) {
	tick := time.NewTicker(ackEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = c.acknowledge(ctx, client)
		case <-stop:
			_ = c.acknowledge(ctx, client)
			return
		}
	}
}

func (c *Consumer) acknowledge(ctx context.Context, client bailiffv1.EventServiceClient) error {
	c.mu.Lock()
	run := c.run
	var through *bailiffv1.Cursor
	if run != nil && run.Last > run.Acked {
		through = &bailiffv1.Cursor{RunId: run.ID, Seq: run.Last}
	}
	c.mu.Unlock()
	if c.Name == "" || through == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := client.Acknowledge(ctx, &bailiffv1.AcknowledgeRequest{Consumer: c.Name, Through: through}); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	run.Acked = max(run.Acked, through.GetSeq())
	c.tell()
	return nil
}

// tell wakes who waits; c.mu is held.
func (c *Consumer) tell() {
	if c.changed != nil {
		close(c.changed)
	}
	c.changed = make(chan struct{})
}

// take counts one message of the stream.
func (c *Consumer) take(m []byte) error {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.tell()
	return eachField(m, func(num protowire.Number, record []byte) error {
		return eachField(record, func(num protowire.Number, b []byte) error {
			switch num {
			case 1:
				return c.event(b, now)
			case 2:
				g := &bailiffv1.Gap{}
				if err := proto.Unmarshal(b, g); err != nil {
					return err
				}
				c.gap(g)
			case 3:
				s := &bailiffv1.Start{}
				if err := proto.Unmarshal(b, s); err != nil {
					return err
				}
				c.next = s.GetRunId() // of which nothing may come before those of older runs
			}
			return nil
		})
	})
}

func (c *Consumer) tally(id string) *RunTally {
	if r := c.runs[id]; r != nil {
		return r
	}
	if c.runs == nil {
		c.runs = map[string]*RunTally{}
	}
	r := &RunTally{ID: id, Acts: map[event.Hook]uint64{}, Lost: map[bailiffv1.GapReason]uint64{}}
	c.runs[id] = r
	c.order = append(c.order, id)
	return r
}

func (c *Consumer) gap(g *bailiffv1.Gap) {
	id := g.GetRunId()
	if id == "" {
		id = c.next
	}
	r := c.tally(id)
	c.run = r
	r.AtLeast = r.AtLeast || g.GetAtLeast()
	if g.GetCount() == 0 || g.GetLastSeq() <= r.Last {
		return
	}
	first := max(g.GetFirstSeq(), r.Last+1)
	r.Holes += first - r.Last - 1
	r.Lost[g.GetReason()] += g.GetLastSeq() - first + 1
	r.Last = g.GetLastSeq()
}

// event looks at the first fields of an event, which come in order.
func (c *Consumer) event(b []byte, now time.Time) error {
	var seq, hook uint64
	var at time.Time
	whole := b
	for len(b) > 0 && hook == 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		b = b[n:]
		switch {
		case kind == protowire.VarintType:
			var v uint64
			if v, n = protowire.ConsumeVarint(b); n < 0 {
				return protowire.ParseError(n)
			}
			switch num {
			case 1:
				seq = v
			case 4:
				hook = v
			}
		case num == 2 && c.timed:
			var stamp []byte
			if stamp, n = protowire.ConsumeBytes(b); n < 0 {
				return protowire.ParseError(n)
			}
			e := &bailiffv1.Event{}
			if err := proto.Unmarshal(protowire.AppendBytes(protowire.AppendTag(nil, 2, protowire.BytesType), stamp), e); err != nil {
				return err
			}
			at = e.GetTime().AsTime()
		default:
			if n = protowire.ConsumeFieldValue(num, kind, b); n < 0 {
				return protowire.ParseError(n)
			}
		}
		b = b[n:]
	}
	if c.next == "" {
		return errors.New("an event came before a start")
	}
	c.run = c.tally(c.next)
	if seq <= c.run.Last {
		c.twice++
		return nil
	}
	c.run.Holes += seq - c.run.Last - 1
	c.run.Last = seq
	if c.Each != nil {
		if err := c.Each(whole); err != nil {
			return err
		}
	}
	if hook == uint64(bailiffv1.Hook_HOOK_NONE) {
		c.run.Notices++
		return nil
	}
	c.run.Acts[event.Hook(hook-1)]++
	if c.timed {
		c.late = append(c.late, now.Sub(at))
	}
	return nil
}

// eachField calls f for each field of a message that is bytes.
func eachField(b []byte, f func(protowire.Number, []byte) error) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 || kind != protowire.BytesType {
			return fmt.Errorf("read message: unexpected field %d", num)
		}
		v, k := protowire.ConsumeBytes(b[n:])
		if k < 0 {
			return protowire.ParseError(k)
		}
		if err := f(num, v); err != nil {
			return err
		}
		b = b[n+k:]
	}
	return nil
}

// bytesCodec leaves messages that come as they are.
type bytesCodec struct{ encoding.CodecV2 }

func (c bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	out, ok := v.(*[]byte)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	*out = data.Materialize()
	return nil
}

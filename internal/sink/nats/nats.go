// Package nats publishes records to a JetStream stream: the bus that carries
// the events of many agents. The subject is
//
//	bailiff.events.CLUSTER.NODE.KIND.VERDICT
//
// and the message id is the record's, so that the stream keeps one of what is
// sent twice.
package nats

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/dial"
)

// Prefix of the subject unless the operator wants another one.
const Prefix = "bailiff.events"

// Options says where to publish.
type Options struct {
	Servers     []string // nats://host:port or tls://host:port
	Subject     string   // beginning of the subject; default Prefix
	Stream      string   // made if it is not there; "": it is somebody else's business
	Credentials string   // file with a JWT and its key; "": none
	TLS         dial.TLS
	Timeout     time.Duration // for connecting and for acknowledgements; default 10 s
	Host        sink.Host
}

// Duplicates is for how long a stream that the agent makes knows the ids of
// what it has, to drop what comes again.
const Duplicates = 10 * time.Minute

// Sender is a sink.Sender that publishes.
type Sender struct {
	o       Options
	prefix  string // with cluster and node
	conn    *nats.Conn
	js      jetstream.JetStream
	pending []jetstream.PubAckFuture
}

// New makes a sender. It connects with the first record.
func New(o Options) *Sender {
	if o.Subject == "" {
		o.Subject = Prefix
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return &Sender{o: o, prefix: o.Subject + "." + token(o.Host.Cluster, "default") + "." + token(o.Host.Name, "unknown")}
}

// token makes one part of a subject of a name.
func token(s, empty string) string {
	if s == "" {
		return empty
	}
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '*' || r == '>' || unicode.IsSpace(r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return '_'
		}
		return r
	}, s)
}

// Send implements sink.Sender. It does not wait for acknowledgements: Confirm
// does.
func (s *Sender) Send(ctx context.Context, records []sink.Record) (rejected int, err error) {
	if s.conn == nil {
		if err := s.connect(ctx); err != nil {
			return 0, errors.Join(err, s.Close())
		}
	}
	for i := range records {
		r := &records[i]
		m := &nats.Msg{
			Subject: s.prefix + "." + r.Item.Kind() + "." + r.Item.Verdict(), Data: r.Body,
			Header: nats.Header{nats.MsgIdHdr: {r.ID}, "Bailiff-Severity": {r.Severity.String()}},
		}
		future, err := s.js.PublishMsgAsync(m)
		switch {
		case errors.Is(err, nats.ErrMaxPayload):
			rejected++
		case err != nil:
			return 0, errors.Join(fmt.Errorf("publish: %w", err), s.Close())
		default:
			s.pending = append(s.pending, future)
		}
	}
	return rejected, nil
}

func (s *Sender) connect(ctx context.Context) error {
	options := []nats.Option{nats.Name("bailiff " + s.o.Host.Name), nats.Timeout(s.o.Timeout), nats.NoReconnect()}
	if s.o.Credentials != "" {
		options = append(options, nats.UserCredentials(s.o.Credentials))
	}
	if s.o.TLS != (dial.TLS{}) {
		c, err := s.o.TLS.Config()
		if err != nil {
			return err
		}
		options = append(options, nats.Secure(c))
	}
	conn, err := nats.Connect(strings.Join(s.o.Servers, ","), options...)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	s.conn = conn
	s.js, err = jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(16384), jetstream.WithPublishAsyncTimeout(s.o.Timeout))
	if err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	if s.o.Stream == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	_, err = s.js.Stream(ctx, s.o.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
			Name: s.o.Stream, Subjects: []string{s.o.Subject + ".>"}, Duplicates: Duplicates,
			Description: "events of bailiff agents",
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another agent was faster
			err = nil
		}
	}
	if err != nil {
		return fmt.Errorf("find stream %s: %w", s.o.Stream, err)
	}
	return nil
}

// Confirm implements sink.Sender: the stream has stored what was sent.
func (s *Sender) Confirm(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	for i, f := range s.pending {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return 0, errors.Join(fmt.Errorf("publish to %s: %w", f.Msg().Subject, err), s.Close())
		case <-ctx.Done():
			return 0, errors.Join(fmt.Errorf("publish: no answer for %d records: %w", len(s.pending)-i, ctx.Err()), s.Close())
		}
	}
	s.pending = s.pending[:0]
	return 0, nil
}

// Close implements sink.Sender.
func (s *Sender) Close() error {
	s.pending = nil
	if s.conn != nil {
		s.conn.Close()
	}
	s.conn, s.js = nil, nil
	return nil
}

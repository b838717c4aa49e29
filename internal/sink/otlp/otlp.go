// Package otlp sends records as OpenTelemetry logs over gRPC, to a Collector or
// whatever else takes them. A batch counts as delivered when the receiver has
// said so.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/dial"
)

// Options says where to send to.
type Options struct {
	Address string // host:port
	TLS     dial.TLS
	Plain   bool              // no TLS at all
	Headers map[string]string // sent with each call, such as an API key
	NoBody  bool              // the body is the message for people, not the record
	Timeout time.Duration     // for one call; default 10 s
	Host    sink.Host
}

// Sender is a sink.Sender that speaks OTLP.
type Sender struct {
	o        Options
	conn     *grpc.ClientConn
	resource *resource.Resource
}

// New makes a sender. It connects with the first record.
func New(o Options) *Sender {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	return &Sender{o: o, resource: resourceOf(&o.Host)}
}

func resourceOf(h *sink.Host) *resource.Resource {
	r := &resource.Resource{Attributes: []*common.KeyValue{text("service.name", "bailiff"), text("os.type", "linux")}}
	for _, kv := range [][2]string{
		{"service.version", h.Version}, {"service.instance.id", h.ID}, {"host.name", h.Name}, {"host.id", h.ID},
		{"os.version", h.Kernel}, {"k8s.cluster.name", h.Cluster},
	} {
		if kv[1] != "" {
			r.Attributes = append(r.Attributes, text(kv[0], kv[1]))
		}
	}
	return r
}

// Send implements sink.Sender: when it returns the receiver has the records.
func (s *Sender) Send(ctx context.Context, records []sink.Record) (int, error) {
	if s.conn == nil {
		if err := s.connect(); err != nil {
			return 0, err
		}
	}
	rejected, err := s.export(ctx, records)
	if err != nil {
		return 0, errors.Join(err, s.Close())
	}
	return rejected, nil
}

func (s *Sender) connect() error {
	creds := insecure.NewCredentials()
	if !s.o.Plain {
		c, err := s.o.TLS.Config()
		if err != nil {
			return err
		}
		creds = credentials.NewTLS(c)
	}
	conn, err := grpc.NewClient(s.o.Address, grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.UseCompressor(gzip.Name)))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", s.o.Address, err)
	}
	s.conn = conn
	return nil
}

// export sends one request. What the receiver calls invalid is cut in halves
// until the record is found that it does not take.
func (s *Sender) export(ctx context.Context, records []sink.Record) (rejected int, err error) {
	call, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	for k, v := range s.o.Headers {
		call = metadata.AppendToOutgoingContext(call, strings.ToLower(k), v)
	}
	r, err := collector.NewLogsServiceClient(s.conn).Export(call, s.request(records))
	switch {
	case err == nil:
		return int(r.GetPartialSuccess().GetRejectedLogRecords()), nil
	case status.Code(err) == codes.InvalidArgument && len(records) > 1:
		half := len(records) / 2
		a, err := s.export(ctx, records[:half])
		if err != nil {
			return 0, err
		}
		b, err := s.export(ctx, records[half:])
		return a + b, err
	case status.Code(err) == codes.InvalidArgument:
		return 1, nil
	}
	if wait := retryAfter(err); wait > 0 {
		select {
		case <-time.After(min(wait, s.o.Timeout)):
		case <-ctx.Done():
		}
	}
	return 0, fmt.Errorf("export to %s: %w", s.o.Address, err)
}

// retryAfter is how long the receiver asks to be left alone.
func retryAfter(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

func (s *Sender) request(records []sink.Record) *collector.ExportLogsServiceRequest {
	scope := &logs.ScopeLogs{Scope: &common.InstrumentationScope{Name: "bailiff", Version: s.o.Host.Version}}
	scope.LogRecords = slices.Grow(scope.LogRecords, len(records))
	now := uint64(time.Now().UnixNano())
	for i := range records {
		r := logRecord(&records[i], s.o.NoBody)
		r.ObservedTimeUnixNano = now
		scope.LogRecords = append(scope.LogRecords, r)
	}
	return &collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{Resource: s.resource, ScopeLogs: []*logs.ScopeLogs{scope}}}}
}

// Confirm implements sink.Sender: Send has seen to it.
func (s *Sender) Confirm(context.Context) (int, error) { return 0, nil }

// Close implements sink.Sender.
func (s *Sender) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

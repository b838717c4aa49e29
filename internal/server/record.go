package server

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// maxArguments is how much of a call's arguments is put on record, in bytes.
const maxArguments = 2048

// record puts a call into the event stream: who, from where, what, with which
// arguments, and what came of it.
func (g *guard) record(code string, c caller, method string, req any, err error) {
	result := status.Code(err)
	g.log.Info("operator call", "by", c.name, "from", c.from, "method", method, "result", result.String())
	before, ok := uint64(0), true
	if code == NoticeCallRefused {
		before, ok = g.flood.pass(time.Now())
	}
	if !ok {
		return
	}
	fields := map[string]string{
		"by": c.name, "role": c.role.String(), "from": c.from, "method": method,
		"result": result.String(), "arguments": argumentsOf(req),
	}
	maps.Copy(fields, c.proof)
	maps.Copy(fields, asked(req))
	if err != nil {
		fields["error"] = status.Convert(err).Message()
	}
	if before > 0 {
		fields["refused_before"] = strconv.FormatUint(before, 10)
	}
	what := method[strings.LastIndexByte(method, '/')+1:]
	text := fmt.Sprintf("%s called %s", c.name, what)
	if result != codes.OK {
		text += ": " + result.String()
	}
	g.agent.Record(event.Notice{Code: code, Text: text, Fields: fields})
}

// argumentsOf shows a request as JSON, "" if it says nothing.
func argumentsOf(req any) string {
	m, ok := req.(proto.Message)
	if a, is := req.(*bailiffv1.ApplyPolicyRequest); is { // all but the bundle itself
		m = &bailiffv1.ApplyPolicyRequest{Name: a.GetName(), Confirm: a.GetConfirm(), Force: a.GetForce()}
	}
	if !ok || proto.Size(m) == 0 {
		return ""
	}
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return "cannot be shown: " + err.Error()
	}
	if len(b) > maxArguments {
		return strings.ToValidUTF8(string(b[:maxArguments]), "") + fmt.Sprintf("... (%d bytes)", len(b))
	}
	return string(b)
}

// flood keeps a caller that is refused again and again from filling the
// stream: so many records at most in a period, the rest is counted.
type flood struct {
	mu    sync.Mutex
	since time.Time
	n     int
	more  uint64 // not recorded since the last record
}

const (
	floodPeriod = 10 * time.Second
	floodMax    = 20
)

// pass reports whether this one may be recorded, and how many were not since
// the last that was.
func (f *flood) pass(now time.Time) (before uint64, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now.Sub(f.since) > floodPeriod {
		f.since, f.n = now, 0
	}
	if f.n >= floodMax {
		f.more++
		return 0, false
	}
	f.n++
	before, f.more = f.more, 0
	return before, true
}

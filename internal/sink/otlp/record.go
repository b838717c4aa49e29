package otlp

import (
	"strings"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/sink"
)

// logRecord makes one record; names are those of the semantic conventions
// where they have one.
func logRecord(r *sink.Record, noBody bool) *logs.LogRecord {
	it := r.Item
	out := &logs.LogRecord{
		TimeUnixNano: uint64(it.Time.UnixNano()), EventName: eventName(it),
		SeverityNumber: severity(r.Severity), SeverityText: r.Severity.String(),
	}
	body := string(r.Body)
	if noBody {
		body = message(it)
	}
	out.Body = &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: valid(body)}}
	a := attributes{&out.Attributes}
	a.text("log.record.uid", r.ID)
	a.text("bailiff.boot_id", it.Run.Boot)
	a.text("bailiff.run_id", it.Run.ID)
	a.text("bailiff.kind", it.Kind())
	switch {
	case it.Gap != nil:
		a.number("bailiff.gap.count", int64(it.Gap.Count))
		a.text("bailiff.gap.reason", it.Reason())
	case it.Event.Agent != nil:
		a.number("bailiff.sequence", int64(it.Seq))
	default:
		a.number("bailiff.sequence", int64(it.Seq))
		a.text("bailiff.verdict", it.Verdict())
		a.text("bailiff.effect", it.Event.Decision.Effect.String())
		a.act(it.Event)
	}
	return out
}

// eventName is bailiff.process.exec, bailiff.file.open, bailiff.file.mmap, bailiff.agent.CODE...
func eventName(it *sink.Item) string {
	switch {
	case it.Gap != nil:
		return "bailiff.agent.gap"
	case it.Event.Agent != nil:
		return "bailiff.agent." + valid(it.Event.Agent.Code)
	case it.Event.File != nil && it.Event.Hook != event.HookExec:
		return "bailiff.file." + it.Event.Hook.String()
	}
	return "bailiff.process." + it.Event.Hook.String()
}

func severity(s sink.Severity) logs.SeverityNumber {
	switch s {
	case sink.Critical:
		return logs.SeverityNumber_SEVERITY_NUMBER_FATAL
	case sink.High:
		return logs.SeverityNumber_SEVERITY_NUMBER_ERROR
	case sink.Medium:
		return logs.SeverityNumber_SEVERITY_NUMBER_WARN
	case sink.Low:
		return logs.SeverityNumber_SEVERITY_NUMBER_INFO2
	}
	return logs.SeverityNumber_SEVERITY_NUMBER_INFO
}

func message(it *sink.Item) string {
	switch {
	case it.Gap != nil:
		return "events are missing: " + it.Reason()
	case it.Event.Agent != nil:
		return it.Event.Agent.Text
	case it.Event.Decision.Message != "":
		return it.Event.Decision.Message
	case it.Event.File != nil:
		return it.Event.Process.Exe.Path + " " + it.Event.Hook.String() + " " + it.Event.File.Path
	}
	return it.Event.Process.Exe.Path + " " + it.Event.Hook.String()
}

// attributes collects key-value pairs.
type attributes struct{ list *[]*common.KeyValue }

func text(k, v string) *common.KeyValue {
	return &common.KeyValue{Key: k, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: valid(v)}}}
}

// valid: protobuf takes UTF-8 only. The record in the body has the bytes.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func (a attributes) text(k, v string) {
	if v != "" {
		*a.list = append(*a.list, text(k, v))
	}
}

func (a attributes) number(k string, n int64) {
	*a.list = append(*a.list, &common.KeyValue{Key: k, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: n}}})
}

func (a attributes) strings(k string, in []string) {
	if len(in) == 0 {
		return
	}
	array := &common.ArrayValue{}
	for _, s := range in {
		array.Values = append(array.Values, &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: valid(s)}})
	}
	*a.list = append(*a.list, &common.KeyValue{Key: k, Value: &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: array}}})
}

// act writes who did what to what.
func (a attributes) act(e *event.Event) {
	p := &e.Process
	a.number("process.pid", int64(p.PID))
	a.number("process.parent_pid", int64(p.PPID))
	a.text("process.executable.path", p.Exe.Path)
	a.number("process.user.id", int64(p.EUID))
	a.number("process.real_user.id", int64(p.UID))
	if p.Start > 0 && e.Boot >= p.Start {
		a.text("process.creation.time", e.Time.Add(-time.Duration(e.Boot-p.Start)).UTC().Format(time.RFC3339Nano))
	}
	a.text("process.linux.cgroup", p.Cgroup)
	if f := e.File; f != nil {
		a.text("file.path", f.Path)
		a.number("file.inode", int64(f.ID.Ino))
	}
	if x := e.Exec; x != nil {
		a.strings("process.command_args", x.Args)
		a.text("process.working_directory", x.Cwd)
	}
	if x := e.Exit; x != nil {
		a.number("process.exit.code", int64(x.Code))
	}
	if d := &e.Decision; d.Rule != nil {
		a.text("security_rule.uuid", d.Rule.ID)
		a.text("security_rule.name", d.Rule.Title)
		a.text("security_rule.ruleset.name", d.Rule.Path)
		a.text("security_rule.version", d.Revision)
	}
}

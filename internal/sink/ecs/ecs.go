// Package ecs turns events into records of the Elastic Common Schema. What it
// has no field for stands below "bailiff". docs/siem.md has the table.
package ecs

import (
	"path"
	"strconv"
	"strings"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/jsontext"
)

// Version of the schema that the fields are from.
const Version = "9.1.0"

// Mapper is a sink.Mapper that writes ECS.
type Mapper struct {
	host sink.Host
	w    jsontext.Writer
}

// New makes a mapper.
func New(h sink.Host) *Mapper { return &Mapper{host: h} }

// Map implements sink.Mapper.
func (m *Mapper) Map(dst []sink.Record, it *sink.Item) []sink.Record {
	m.w.Reset(nil)
	r := record{Writer: &m.w, host: &m.host, it: it, e: it.Event, severity: sink.SeverityOf(it)}
	r.Object("")
	r.Str("@timestamp", it.Time.UTC().Format("2006-01-02T15:04:05.000000000Z"))
	r.Object("ecs")
	r.Str("version", Version)
	r.End()
	r.event()
	r.machine()
	switch {
	case it.Gap != nil:
		r.gap()
	case it.Event.Agent != nil:
		r.notice()
	default:
		r.act()
	}
	r.End()
	return append(dst, sink.Record{ID: it.ID(), Severity: r.severity, Body: r.Buf, Item: it})
}

type record struct {
	*jsontext.Writer
	host     *sink.Host
	it       *sink.Item
	e        *event.Event
	severity sink.Severity
}

// event writes the fields below "event".
func (r *record) event() {
	kind, category, types, outcome := "event", "process", []string{"info"}, "success"
	switch {
	case r.it.Gap != nil:
		kind, category, types, outcome = "pipeline_error", "host", []string{"info"}, "unknown"
	case r.e.Agent != nil:
		category = "configuration"
		if strings.HasSuffix(r.e.Agent.Code, "-change") {
			types = []string{"change"}
		}
	default:
		switch r.e.Hook {
		case event.HookExec, event.HookFork:
			types = []string{"start"}
		case event.HookExit:
			types = []string{"end"}
		case event.HookOpen, event.HookMmap, event.HookReceive:
			category, types = "file", []string{"access"}
		case event.HookCreate, event.HookLink:
			category, types = "file", []string{"creation"}
		case event.HookUnlink:
			category, types = "file", []string{"deletion"}
		case event.HookPtrace:
			types = []string{"access"}
		case event.HookRename, event.HookTruncate:
			category, types = "file", []string{"change"}
		}
		d := &r.e.Decision
		if d.Verdict >= event.VerdictAlert {
			kind = "alert"
		}
		switch d.Effect {
		case event.EffectRefused, event.EffectKilled:
			types, outcome = append(types, "denied"), "failure"
		default:
			if d.Verdict == event.VerdictAllow {
				types = append(types, "allowed")
			}
		}
	}
	r.Object("event")
	r.Str("id", r.it.ID())
	r.Str("kind", kind)
	r.Strs("category", []string{category})
	r.Strs("type", types)
	r.Str("action", r.it.Name())
	r.Str("outcome", outcome)
	r.Str("module", "bailiff")
	r.Str("dataset", "bailiff.events")
	r.Str("provider", "bailiff")
	r.Int("severity", int64(r.severity))
	if r.e != nil {
		r.Uint("sequence", r.it.Seq)
		r.Opt("reason", r.e.Decision.Message)
	}
	r.End()
}

// machine writes where it happened, and who saw it.
func (r *record) machine() {
	r.Object("host")
	r.Opt("name", r.host.Name)
	r.Opt("hostname", r.host.Name)
	r.Opt("id", r.host.ID)
	r.Object("boot")
	r.Opt("id", r.it.Run.Boot)
	r.End()
	r.Object("os")
	r.Str("type", "linux")
	r.Opt("kernel", r.host.Kernel)
	r.End()
	r.End()
	r.Object("agent")
	r.Str("type", "bailiff")
	r.Opt("version", r.host.Version)
	r.Opt("id", r.host.ID)
	r.Opt("ephemeral_id", r.it.Run.ID)
	r.End()
	if r.host.Cluster != "" {
		r.Object("orchestrator")
		r.Object("cluster")
		r.Str("name", r.host.Cluster)
		r.End()
		r.End()
	}
}

func (r *record) entity(id event.ExecID) {
	if id != 0 {
		r.Str("entity_id", r.it.Run.Boot+"/"+id.String())
	}
}

func (r *record) act() {
	e := r.e
	p := &e.Process
	r.Str("message", e.Process.Exe.Path+" "+e.Hook.String())
	r.Object("process")
	r.Int("pid", int64(p.PID))
	x := e.Exec
	image := &p.Exe
	switch {
	case e.Hook == event.HookExec && e.File != nil:
		image = e.File
		if x != nil {
			r.entity(x.ExecID)
		}
	default:
		r.entity(p.ExecID)
	}
	r.program(image)
	if x != nil {
		r.Strs("args", x.Args)
		r.Int("args_count", int64(len(x.Args)))
		r.Opt("working_directory", x.Cwd)
	}
	if p.Start > 0 && e.Boot >= p.Start {
		r.Str("start", e.Time.Add(-time.Duration(e.Boot-p.Start)).UTC().Format(time.RFC3339Nano))
	}
	if e.Exit != nil {
		r.Int("exit_code", int64(e.Exit.Code))
	}
	r.ids(p)
	r.Object("thread")
	r.Int("id", int64(p.TID))
	r.End()
	r.Object("parent")
	r.Int("pid", int64(p.PPID))
	r.entity(p.ParentID)
	r.program(&p.Parent)
	r.End()
	r.End()
	if e.File != nil {
		r.file(e.File)
	}
	r.user(p)
	if d := &e.Decision; d.Rule != nil {
		r.rule(d.Rule, d.Revision)
	}
	r.own()
}

func (r *record) program(f *event.File) {
	if f.Path == "" {
		return
	}
	r.Str("executable", f.Path)
	r.Str("name", path.Base(f.Path))
}

func (r *record) ids(p *event.Process) {
	one := func(key string, id uint32) {
		r.Object(key)
		r.Str("id", strconv.FormatUint(uint64(id), 10))
		r.End()
	}
	one("real_user", p.UID)
	one("real_group", p.GID)
	one("user", p.EUID)
	one("group", p.EGID)
}

func (r *record) user(p *event.Process) {
	r.Object("user")
	r.Str("id", strconv.FormatUint(uint64(p.EUID), 10))
	r.End()
}

func (r *record) file(f *event.File) {
	if f.Path == "" {
		return
	}
	r.Object("file")
	r.Str("path", f.Path)
	r.Str("name", path.Base(f.Path))
	if dir := path.Dir(f.Path); dir != "." {
		r.Str("directory", dir)
	}
	r.Str("inode", strconv.FormatUint(f.ID.Ino, 10))
	r.Str("device", strconv.Itoa(int(f.ID.Dev>>20))+":"+strconv.Itoa(int(f.ID.Dev&(1<<20-1))))
	if f.Mode != 0 {
		r.Str("mode", "0"+strconv.FormatUint(uint64(f.Mode&0o7777), 8))
		r.Str("uid", strconv.FormatUint(uint64(f.UID), 10))
		r.Str("gid", strconv.FormatUint(uint64(f.GID), 10))
	}
	r.End()
}

func (r *record) rule(ref *event.RuleRef, revision string) {
	r.Object("rule")
	r.Str("id", ref.ID)
	name := ref.Title
	if name == "" {
		name = ref.ID
	}
	r.Str("name", name)
	r.Opt("ruleset", ref.Path)
	r.Opt("version", revision)
	r.End()
	if len(ref.Attack) == 0 {
		return
	}
	r.Object("threat")
	r.Str("framework", "MITRE ATT&CK")
	var whole, sub []string
	for _, id := range ref.Attack {
		t, _, part := strings.Cut(id, ".")
		whole = append(whole, t)
		if part {
			sub = append(sub, id)
		}
	}
	r.Object("technique")
	r.Strs("id", whole)
	if len(sub) > 0 {
		r.Object("subtechnique")
		r.Strs("id", sub)
		r.End()
	}
	r.End()
	r.End()
}

// Package ocsf turns events into records of the Open Cybersecurity Schema
// Framework: Process Activity, File System Activity and Detection Finding.
// docs/siem.md has the table of what becomes what.
package ocsf

import (
	"fmt"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/jsontext"
)

// The versions of the schema that can be written.
const (
	Version18 = "1.8.0"
	Version11 = "1.1.0" // what some receivers still are at: newer attributes are left out
)

// Classes.
const (
	classFile    = 1001
	classProcess = 1007
	classFinding = 2004
)

// Options says what to write.
type Options struct {
	Version string // Version18 (default) or Version11
	// Findings adds a Detection Finding to each act that a rule alerts on or
	// denies. Without it an act is one record.
	Findings bool
	Host     sink.Host
}

// Mapper is a sink.Mapper that writes OCSF.
type Mapper struct {
	o   Options
	v18 bool
	w   jsontext.Writer

	size int // a record larger than most so far
}

// New makes a mapper.
func New(o Options) (*Mapper, error) {
	if o.Version == "" {
		o.Version = Version18
	}
	if o.Version != Version18 && o.Version != Version11 {
		return nil, fmt.Errorf("make OCSF mapper: version %q is not one of %s, %s", o.Version, Version18, Version11)
	}
	return &Mapper{o: o, v18: o.Version == Version18}, nil
}

// Map implements sink.Mapper.
func (m *Mapper) Map(dst []sink.Record, it *sink.Item) []sink.Record {
	m.w.Reset(make([]byte, 0, m.size))
	r := record{Writer: &m.w, m: m, it: it, id: it.ID(), severity: sink.SeverityOf(it)}
	r.Object("")
	switch {
	case it.Gap != nil:
		r.gap()
	case it.Event.Agent != nil:
		r.notice()
	default:
		r.e = it.Event
		r.act()
	}
	r.End()
	m.size = min(max(m.size, len(r.Buf)+len(r.Buf)/8), 8<<10)
	dst = append(dst, r.made())
	if r.e == nil || !m.o.Findings || r.e.Decision.Verdict < event.VerdictAlert {
		return dst
	}
	m.w.Reset(make([]byte, 0, m.size))
	f := record{Writer: &m.w, m: m, it: it, e: it.Event, id: r.id + "/finding", severity: r.severity}
	f.Object("")
	f.finding(r.id)
	f.End()
	return append(dst, f.made())
}

// record is one record as it is written.
type record struct {
	*jsontext.Writer
	m        *Mapper
	it       *sink.Item
	e        *event.Event // nil if the record is about the agent
	id       string
	severity sink.Severity
	profiles []string
	class    int
	activity int
}

func (r *record) made() sink.Record {
	return sink.Record{ID: r.id, Severity: r.severity, Body: r.Buf, Item: r.it}
}

// v18 reports whether attributes that are newer than 1.1 may be written.
func (r *record) v18() bool { return r.m.v18 }

// head writes what every class requires.
func (r *record) head(class, activity int, className, activityName string) {
	r.class, r.activity = class, activity
	category, categoryName := 1, "System Activity"
	if class == classFinding {
		category, categoryName = 2, "Findings"
	}
	r.Int("class_uid", int64(class))
	r.Str("class_name", className)
	r.Int("category_uid", int64(category))
	r.Str("category_name", categoryName)
	r.Int("activity_id", int64(activity))
	r.Str("activity_name", activityName)
	r.Int("type_uid", int64(class*100+activity))
	r.Str("type_name", className+": "+activityName)
	r.Int("severity_id", int64(r.severity))
	r.Str("severity", r.severity.String())
	r.Int("time", r.it.Time.UnixMilli())
	r.Int("timezone_offset", 0)
}

// metadata writes who says so. The profiles are those that were used.
func (r *record) metadata(profiles ...string) {
	r.profiles = profiles
	r.Object("metadata")
	r.Str("version", r.m.o.Version)
	r.Object("product")
	r.Str("name", "Bailiff")
	r.Str("vendor_name", "Bailiff")
	r.Opt("version", r.m.o.Host.Version)
	r.End()
	r.Strs("profiles", profiles)
	r.Str("uid", r.id)
	r.Str("event_code", r.it.Name())
	r.Str("log_name", "bailiff")
	if r.it.Event != nil {
		r.Int("sequence", int64(r.it.Seq))
		r.Str("original_time", r.it.Event.Time.UTC().Format(time.RFC3339Nano))
	}
	r.Opt("tenant_uid", r.m.o.Host.Cluster)
	if r.v18() && r.e != nil && truncated(r.e) {
		r.Bool("is_truncated", true)
	}
	r.End()
}

func truncated(e *event.Event) bool {
	return e.File != nil && e.File.Unresolved || e.Exec != nil && (e.Exec.ArgsCut || e.Exec.EnvCut)
}

// device writes the machine.
func (r *record) device() {
	h := &r.m.o.Host
	r.Object("device")
	name := h.Name
	if name == "" {
		name = "unknown"
	}
	r.Str("hostname", name)
	r.Opt("uid", h.ID)
	if h.Virtual {
		r.Int("type_id", 6)
		r.Str("type", "Virtual")
	} else {
		r.Int("type_id", 1)
		r.Str("type", "Server")
	}
	r.Object("os")
	r.Str("name", "Linux")
	r.Int("type_id", 200)
	r.Str("type", "Linux")
	if r.v18() {
		r.Opt("kernel_release", h.Kernel)
	}
	r.End()
	if r.v18() {
		r.Opt("boot_uid", r.it.Run.Boot)
	}
	r.End()
}

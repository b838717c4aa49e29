package ocsf

import (
	"fmt"
	"maps"
	"slices"
)

const (
	findingClass = "Detection Finding"
	create       = 1
	closed       = 3
)

// analytic writes what found it.
func (r *record) analytic(uid, name, version string) {
	r.Object("analytic")
	r.Str("uid", uid)
	r.Str("name", name)
	r.Int("type_id", 1)
	r.Str("type", "Rule")
	r.Opt("version", version)
	r.End()
}

// finding writes the Detection Finding of an act; of is the act's own record.
func (r *record) finding(of string) {
	d := &r.e.Decision
	r.head(classFinding, create, findingClass, "Create")
	var profiles []string
	if r.v18() {
		profiles = []string{security, linuxUsers}
	}
	r.metadata(profiles...)
	r.Str("message", r.message())
	r.Int("status_id", 1)
	r.Str("status", "New")
	r.device()
	title, rule := "a rule of the policy", "unknown"
	if d.Rule != nil {
		title, rule = d.Rule.Title, d.Rule.ID
		if title == "" {
			title = rule
		}
	}
	r.Object("finding_info")
	r.Str("uid", r.id)
	r.Str("title", title)
	r.Opt("desc", d.Message)
	r.Int("created_time", r.e.Time.UnixMilli())
	r.Strs("types", []string{r.e.Hook.String()})
	r.analytic(rule, title, d.Revision)
	if d.Rule != nil && !r.v18() {
		r.attacks(d.Rule.Attack)
	}
	r.Array("related_events")
	r.Object("")
	r.Str("uid", of)
	class := classProcess*100 + 1
	if f, ok := fileActs[r.e.Hook]; ok {
		class = classFile*100 + f.id
	}
	r.Int("type_uid", int64(class))
	r.End()
	r.EndArray()
	r.End()
	r.evidence()
	if r.v18() {
		r.security()
	}
	r.unmapped()
}

// evidence writes who did what to what.
func (r *record) evidence() {
	r.Array("evidences")
	r.Object("")
	if r.v18() {
		r.actor()
	} else {
		// 1.1 has no Linux credentials here.
		r.Object("actor")
		r.Object("process")
		r.identity(&r.e.Process)
		r.Opt("uid", r.uid(r.e.Process.ExecID))
		r.image(&r.e.Process.Exe)
		r.End()
		r.End()
	}
	if r.e.File != nil {
		r.file("file", r.e.File)
	}
	r.End()
	r.EndArray()
}

// notice writes what the agent has to say about itself: a Detection Finding
// that is about the agent. A condition is closed by a record with the uid of
// the one that opened it.
func (r *record) notice() {
	n := r.it.Event.Agent
	activity, name, status, statusName := create, "Create", 1, "New"
	uid := r.id
	switch n.Code {
	case "condition-cleared":
		activity, name, status, statusName = closed, "Close", 4, "Resolved"
		fallthrough
	case "condition-raised":
		uid = fmt.Sprintf("%s/%s/condition/%s", r.it.Run.Boot, r.it.Run.ID, n.Fields["code"])
	}
	d := &r.it.Event.Decision
	r.about(activity, name, status, statusName, uid, n.Code, n.Text, func() {
		for _, k := range slices.Sorted(maps.Keys(n.Fields)) {
			r.Str(k, n.Fields[k])
		}
	}, func() {
		r.Str("mode", d.Mode.String())
		r.Opt("revision", d.Revision)
		r.Uint("generation", uint64(d.Generation))
	})
}

// gap writes that events are missing here.
func (r *record) gap() {
	g := r.it.Gap
	text := fmt.Sprintf("%d events are missing (%d to %d): %s", g.Count, g.First, g.Last, r.it.Reason())
	if g.Count == 0 {
		text = "nobody knows how many events are missing: " + r.it.Reason()
	}
	r.about(create, "Create", 1, "New", r.id, r.it.Name(), text, func() {
		r.Uint("count", g.Count)
		r.Uint("first_seq", g.First)
		r.Uint("last_seq", g.Last)
		r.Str("reason", r.it.Reason())
		r.Flag("at_least", g.AtLeast)
	}, nil)
}

func (r *record) about(activity int, name string, status int, statusName, uid, code, text string, data, more func()) {
	r.head(classFinding, activity, findingClass, name)
	r.metadata()
	r.Str("message", text)
	r.Int("status_id", int64(status))
	r.Str("status", statusName)
	r.device()
	r.Object("finding_info")
	r.Str("uid", uid)
	r.Str("title", "Bailiff: "+code)
	r.Str("desc", text)
	r.Strs("types", []string{"agent"})
	r.analytic("bailiff."+code, "Bailiff agent", r.m.o.Host.Version)
	r.End()
	r.Array("evidences")
	r.Object("")
	r.Object("data")
	r.Str("code", code)
	r.Object("fields")
	data()
	r.End()
	r.End()
	r.End()
	r.EndArray()
	r.Object("unmapped")
	r.Str("run_id", r.it.Run.ID)
	if more != nil {
		more()
	}
	r.Strs("escaped", r.Escaped)
	r.End()
}

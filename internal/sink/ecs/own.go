package ecs

import (
	"maps"
	"slices"
	"strconv"

	"example.com/bailiff/internal/event"
)

// own writes what ECS has no field for.
func (r *record) own() {
	e, d := r.e, &r.e.Decision
	p := &e.Process
	r.Object("bailiff")
	r.Str("verdict", r.it.Verdict())
	r.Str("effect", d.Effect.String())
	r.Str("source", d.Source.String())
	r.Str("mode", d.Mode.String())
	r.Uint("generation", uint64(d.Generation))
	var others []string
	for i := range d.Others {
		others = append(others, d.Others[i].ID)
	}
	r.Strs("other_rules", others)
	r.Flag("late", d.Late)
	r.Flag("undecided", d.Undecided)
	r.Opt("fail_open", d.FailOpen)
	r.Flag("divergence", d.Divergence)
	r.Flag("commit", d.Commit)
	r.Uint("boot_ns", e.Boot)
	r.Str("exec_id", p.ExecID.String())
	r.Opt("actor", p.Exe.Path)
	r.Strs("ancestors", p.Ancestry)
	r.Opt("shell", p.Shell)
	r.Opt("cgroup", p.Cgroup)
	r.Str("cgroup_id", strconv.FormatUint(p.CgroupID, 10))
	r.Opt("comm", p.Comm)
	r.Strs("process_traits", p.Traits)
	r.Strs("stdio", p.Stdio)
	r.Strs("open", e.Open)
	if e.File != nil {
		r.Strs("traits", e.File.Traits)
		r.Strs("identities", e.File.Identities)
		r.Opt("sha256", e.File.SHA256)
		r.Opt("verity", e.File.Verity)
		r.Opt("at", e.File.At)
		r.Flag("path_unresolved", e.File.Unresolved)
	}
	if x := e.Exec; x != nil {
		r.environment(x.Env)
		r.Opt("opened_as", x.OpenedAs)
		r.Opt("script", x.Script)
		r.Opt("interpreter", x.Interpreter)
		if c := x.Creds; c != nil {
			r.Object("new_creds")
			r.Uint("euid", uint64(c.EUID))
			r.Uint("egid", uint64(c.EGID))
			r.Str("cap_effective", strconv.FormatUint(c.CapEff, 16))
			r.End()
		}
		r.Flag("args_truncated", x.ArgsCut)
		r.Strs("env_again", x.EnvAgain)
	}
	if f := e.Fork; f != nil {
		r.Int("child_pid", int64(f.PID))
		if f.ExecID != 0 {
			r.Str("child_entity_id", r.it.Run.Boot+"/"+f.ExecID.String())
		}
	}
	if t := e.Target; t != nil {
		r.Int("target_pid", int64(t.PID))
		if t.ExecID != 0 {
			r.Str("target_entity_id", r.it.Run.Boot+"/"+t.ExecID.String())
		}
		r.Strs("target_traits", t.Traits)
	}
	if x := e.Exit; x != nil && x.Signal > 0 {
		r.Int("signal", int64(x.Signal))
		r.Flag("core", x.Core)
	}
	r.Strs("escaped", r.Escaped)
	r.End()
}

// environment: names are values here, or a process could make new fields in
// the receiver's index.
func (r *record) environment(env map[string]string) {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	r.Strs("env", list)
}

func (r *record) notice() {
	n := r.e.Agent
	r.Str("message", n.Text)
	r.Object("bailiff")
	r.Str("code", n.Code)
	r.Str("mode", r.e.Decision.Mode.String())
	r.Opt("revision", r.e.Decision.Revision)
	r.Uint("generation", uint64(r.e.Decision.Generation))
	var fields []string
	for _, k := range slices.Sorted(maps.Keys(n.Fields)) {
		fields = append(fields, k+"="+n.Fields[k])
	}
	r.Strs("fields", fields)
	r.Strs("escaped", r.Escaped)
	r.End()
}

func (r *record) gap() {
	g := r.it.Gap
	r.Str("message", "events are missing: "+r.it.Reason())
	r.Object("bailiff")
	r.Str("code", "gap")
	r.Object("gap")
	r.Uint("count", g.Count)
	r.Uint("first_seq", g.First)
	r.Uint("last_seq", g.Last)
	r.Str("reason", r.it.Reason())
	r.Flag("at_least", g.AtLeast || g.Reason == event.LossUnknownCursor)
	r.End()
	r.End()
}

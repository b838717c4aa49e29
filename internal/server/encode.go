package server

import (
	"slices"

	"google.golang.org/protobuf/types/known/timestamppb"

	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// Encode turns an event into its wire form. It copies everything that it
// keeps a hold of but strings, which are immutable.
func Encode(e *event.Event) *bailiffv1.Event {
	c := &encoder{}
	out := &bailiffv1.Event{
		Seq:             e.Seq,
		Time:            timestamppb.New(e.Time),
		Boot:            e.Boot,
		Hook:            EncodeHook(e.Hook),
		CgroupProcesses: e.CgroupProcs,
		Open:            c.list("open", e.Open),
		Decision:        c.decision(&e.Decision),
	}
	if e.Agent == nil {
		out.Process = c.process(&e.Process)
	}
	if e.File != nil {
		out.File = c.file("file", e.File)
	}
	if x := e.Exec; x != nil {
		out.Exec = &bailiffv1.Exec{
			ExecId: uint64(x.ExecID), Args: c.list("exec.args", x.Args), ArgsBytes: x.ArgsTotal, ArgsTruncated: x.ArgsCut,
			Env: c.dict("exec.env", x.Env), EnvTruncated: x.EnvCut, Cwd: c.text("exec.cwd", x.Cwd),
			OpenedAs: c.text("exec.opened_as", x.OpenedAs), Script: c.text("exec.script", x.Script),
			Interpreter: c.text("exec.interpreter", x.Interpreter), Comm: c.text("exec.comm", x.Comm),
		}
	}
	if f := e.Fork; f != nil {
		out.Fork = &bailiffv1.Fork{Pid: f.PID, ExecId: uint64(f.ExecID), Flags: f.Flags}
	}
	if x := e.Exit; x != nil {
		out.Exit = &bailiffv1.Exit{Code: uint32(x.Code), Signal: uint32(x.Signal), Core: x.Core}
	}
	if n := e.Agent; n != nil {
		out.Agent = &bailiffv1.Notice{
			Code: c.text("agent.code", n.Code), Text: c.text("agent.text", n.Text), Fields: c.dict("agent.fields", n.Fields),
		}
	}
	out.Escaped = c.escaped
	return out
}

// encoder remembers which fields had to be escaped.
type encoder struct{ escaped []string }

func (c *encoder) text(field, s string) string {
	s, changed := escape(s)
	if changed && !slices.Contains(c.escaped, field) {
		c.escaped = append(c.escaped, field)
	}
	return s
}

// list escapes either all elements or none, so that one mark does for the field.
func (c *encoder) list(field string, in []string) []string {
	if len(in) == 0 {
		return nil
	}
	out := slices.Clone(in)
	if !slices.ContainsFunc(in, invalid) {
		return out
	}
	c.escaped = append(c.escaped, field)
	for i := range out {
		out[i] = escapeAlways(out[i])
	}
	return out
}

func (c *encoder) dict(field string, in map[string]string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	bad := false
	for k, v := range in {
		bad = bad || invalid(k) || invalid(v)
	}
	if bad {
		c.escaped = append(c.escaped, field)
	}
	out := make(map[string]string, len(in))
	for k, v := range in {
		if bad {
			k, v = escapeAlways(k), escapeAlways(v)
		}
		out[k] = v
	}
	return out
}

func (c *encoder) process(p *event.Process) *bailiffv1.Process {
	return &bailiffv1.Process{
		Pid: p.PID, Tid: p.TID, Ppid: p.PPID, ExecId: uint64(p.ExecID), ParentExecId: uint64(p.ParentID),
		Exe: c.file("process.exe", &p.Exe), ParentExe: c.file("process.parent_exe", &p.Parent),
		Ancestors: c.list("process.ancestors", p.Ancestry), Comm: c.text("process.comm", p.Comm),
		Uid: p.UID, Euid: p.EUID, Gid: p.GID, Egid: p.EGID, Loginuid: p.LoginUID, CapEffective: p.CapEff,
		CgroupId: p.CgroupID, Cgroup: c.text("process.cgroup", p.Cgroup),
		MntNs: p.MntNS, PidNs: p.PidNS, UserNs: p.UserNS, Tty: p.TTY, StartBoot: p.Start,
	}
}

func (c *encoder) file(field string, f *event.File) *bailiffv1.File {
	return &bailiffv1.File{
		Id:   &bailiffv1.FileID{Dev: f.ID.Dev, Gen: f.ID.Gen, Ino: f.ID.Ino},
		Path: c.text(field+".path", f.Path), Names: c.list(field+".names", f.Names), Unresolved: f.Unresolved,
		Mode: f.Mode, Uid: f.UID, Gid: f.GID, Nlink: f.Nlink, FsMagic: f.FsMagic, FsType: c.text(field+".fs_type", f.FsType),
		DirMode: f.DirMode, DirUid: f.DirUID, Traits: c.list(field+".traits", f.Traits),
	}
}

func (c *encoder) decision(d *event.Decision) *bailiffv1.Decision {
	out := &bailiffv1.Decision{
		Verdict: EncodeVerdict(d.Verdict), Effect: encodeEffect(d.Effect), Source: bailiffv1.Source(d.Source) + 1, Mode: EncodeMode(d.Mode),
		Message: c.text("decision.message", d.Message), Revision: c.text("decision.revision", d.Revision), Generation: d.Generation,
		Late: d.Late, Undecided: d.Undecided, FailOpen: c.text("decision.fail_open", d.FailOpen), Divergence: d.Divergence,
	}
	if d.Rule != nil {
		out.Rule = encodeRef(d.Rule)
	}
	for i := range d.Others {
		out.Others = append(out.Others, encodeRef(&d.Others[i]))
	}
	return out
}

// encodeRef: a rule's texts come from a bundle that OPA has parsed, which only
// takes UTF-8; its file name may be anything and is escaped without a mark.
func encodeRef(r *event.RuleRef) *bailiffv1.RuleRef {
	out := &bailiffv1.RuleRef{Line: int32(r.Line), Attack: slices.Clone(r.Attack)}
	out.Id, _ = escape(r.ID)
	out.Package, _ = escape(r.Path)
	out.File, _ = escape(r.File)
	out.Title, _ = escape(r.Title)
	out.Severity, _ = escape(r.Severity)
	return out
}

// Enumerations of the wire are one higher than ours: 0 there is "not given".

// EncodeHook turns a hook into that of the wire.
func EncodeHook(h event.Hook) bailiffv1.Hook { return bailiffv1.Hook(h) + 1 }

// EncodeVerdict turns a verdict into that of the wire.
func EncodeVerdict(v event.Verdict) bailiffv1.Verdict { return bailiffv1.Verdict(v) + 1 }

// EncodeMode turns a mode into that of the wire.
func EncodeMode(m event.Mode) bailiffv1.Mode { return bailiffv1.Mode(m) + 1 }

func encodeEffect(e event.Effect) bailiffv1.Effect { return bailiffv1.Effect(e) + 1 }

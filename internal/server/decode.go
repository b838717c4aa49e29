package server

import (
	"slices"
	"strings"

	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// Decode is the inverse of Encode, for clients.
func Decode(p *bailiffv1.Event) *event.Event {
	d := decoder{escaped: p.GetEscaped()}
	e := &event.Event{
		Seq: p.GetSeq(), Time: p.GetTime().AsTime(), Boot: p.GetBoot(), Hook: decodeHook(p.GetHook()),
		CgroupProcs: p.GetCgroupProcesses(), CgroupRate: p.GetCgroupRate(), FileAge: p.GetFileAge(), Open: d.list("open", p.GetOpen()), Decision: d.decision(p.GetDecision()),
		Redacted: p.GetRedacted(),
	}
	if q := p.GetProcess(); q != nil {
		e.Process = d.process(q)
	}
	if f := p.GetFile(); f != nil {
		file := d.file("file", f)
		e.File = &file
	}
	if x := p.GetExec(); x != nil {
		e.Exec = &event.Exec{
			ExecID: event.ExecID(x.GetExecId()), Args: d.list("exec.args", x.GetArgs()), ArgsTotal: x.GetArgsBytes(), ArgsCut: x.GetArgsTruncated(),
			Env: d.dict("exec.env", x.GetEnv()), EnvCut: x.GetEnvTruncated(), EnvAgain: d.list("exec.env_again", x.GetEnvAgain()), Cwd: d.text("exec.cwd", x.GetCwd()),
			OpenedAs: d.text("exec.opened_as", x.GetOpenedAs()), Script: d.text("exec.script", x.GetScript()),
			Interpreter: d.text("exec.interpreter", x.GetInterpreter()), Comm: d.text("exec.comm", x.GetComm()),
		}
		if c := x.GetCreds(); c != nil {
			e.Exec.Creds = &event.Creds{EUID: c.GetEuid(), EGID: c.GetEgid(), CapEff: c.GetCapEffective()}
		}
	}
	if f := p.GetFork(); f != nil {
		e.Fork = &event.Fork{PID: f.GetPid(), ExecID: event.ExecID(f.GetExecId()), Flags: f.GetFlags()}
	}
	if t := p.GetTarget(); t != nil {
		e.Target = &event.Target{PID: t.GetPid(), ExecID: event.ExecID(t.GetExecId()), Traits: d.list("target.traits", t.GetTraits())}
	}
	if x := p.GetExit(); x != nil {
		e.Exit = &event.Exit{Code: uint8(x.GetCode()), Signal: uint8(x.GetSignal()), Core: x.GetCore()}
	}
	if n := p.GetAgent(); n != nil {
		e.Agent = &event.Notice{
			Code: d.text("agent.code", n.GetCode()), Text: d.text("agent.text", n.GetText()), Fields: d.dict("agent.fields", n.GetFields()),
		}
	}
	return e
}

type decoder struct{ escaped []string }

func (d decoder) text(field, s string) string {
	if slices.Contains(d.escaped, field) {
		return unescape(s)
	}
	return s
}

func (d decoder) list(field string, in []string) []string {
	out := slices.Clone(in)
	for i := range out {
		out[i] = d.text(field, out[i])
	}
	return out
}

func (d decoder) dict(field string, in map[string]string) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for k, v := range in {
		out[d.text(field, k)] = d.text(field, v)
	}
	return out
}

func (d decoder) process(p *bailiffv1.Process) event.Process {
	var above [][]string
	for _, of := range p.GetAncestorNames() {
		above = append(above, d.list("process.ancestor_names", of.GetNames()))
	}
	return event.Process{
		PID: p.GetPid(), TID: p.GetTid(), PPID: p.GetPpid(), ExecID: event.ExecID(p.GetExecId()), ParentID: event.ExecID(p.GetParentExecId()),
		Exe: d.file("process.exe", p.GetExe()), Parent: d.file("process.parent_exe", p.GetParentExe()),
		Ancestry: d.list("process.ancestors", p.GetAncestors()), AncestorNames: above, AncestorsCut: p.GetAncestorsTruncated(), Shell: d.text("process.shell", p.GetShell()), Comm: d.text("process.comm", p.GetComm()),
		UID: p.GetUid(), EUID: p.GetEuid(), GID: p.GetGid(), EGID: p.GetEgid(), LoginUID: p.GetLoginuid(), CapEff: p.GetCapEffective(),
		CgroupID: p.GetCgroupId(), Cgroup: d.text("process.cgroup", p.GetCgroup()),
		MntNS: p.GetMntNs(), PidNS: p.GetPidNs(), UserNS: p.GetUserNs(), TTY: p.GetTty(), Start: p.GetStartBoot(),
		Traits: d.list("process.traits", p.GetTraits()), Stdio: d.list("process.stdio", p.GetStdio()),
	}
}

func (d decoder) file(field string, f *bailiffv1.File) event.File {
	return event.File{
		ID:   event.FileID{Dev: f.GetId().GetDev(), Gen: f.GetId().GetGen(), Ino: f.GetId().GetIno()},
		Path: d.text(field+".path", f.GetPath()), Names: d.list(field+".names", f.GetNames()), Unresolved: f.GetUnresolved(),
		Mode: f.GetMode(), UID: f.GetUid(), GID: f.GetGid(), Nlink: f.GetNlink(), FsMagic: f.GetFsMagic(), FsType: d.text(field+".fs_type", f.GetFsType()),
		DirMode: f.GetDirMode(), DirUID: f.GetDirUid(), Traits: d.list(field+".traits", f.GetTraits()),
		Identities: d.list(field+".identities", f.GetIdentities()),
		SHA256:     d.text(field+".sha256", f.GetSha256()),
		Verity:     d.text(field+".verity", f.GetVerity()),
		At:         d.text(field+".at", f.GetAt()),
	}
}

func (d decoder) decision(p *bailiffv1.Decision) event.Decision {
	out := event.Decision{
		Verdict: decodeVerdict(p.GetVerdict()), Effect: decodeEffect(p.GetEffect()), Source: event.Source(dec(p.GetSource())), Mode: DecodeMode(p.GetMode()),
		Message: d.text("decision.message", p.GetMessage()), Revision: d.text("decision.revision", p.GetRevision()), Generation: p.GetGeneration(),
		Late: p.GetLate(), Undecided: p.GetUndecided(), FailOpen: d.text("decision.fail_open", p.GetFailOpen()), Divergence: p.GetDivergence(), Commit: p.GetCommit(),
		ModeBy: event.ModeBy(dec(p.GetModeBy())),
	}
	if p.GetRule() != nil {
		r := DecodeRef(p.GetRule())
		out.Rule = &r
	}
	for _, r := range p.GetOthers() {
		out.Others = append(out.Others, DecodeRef(r))
	}
	return out
}

// DecodeRef turns a rule reference of the wire into ours.
func DecodeRef(r *bailiffv1.RuleRef) event.RuleRef {
	return event.RuleRef{
		ID: r.GetId(), Path: r.GetPackage(), File: r.GetFile(), Line: int(r.GetLine()),
		Title: r.GetTitle(), Severity: r.GetSeverity(), Attack: slices.Clone(r.GetAttack()),
	}
}

// GapReason names the reason of a gap as JSON does.
func GapReason(r bailiffv1.GapReason) string {
	return strings.ToLower(strings.TrimPrefix(r.String(), "GAP_REASON_"))
}

// DecodeMode turns a mode of the wire into ours; what is not given is audit.
func DecodeMode(m bailiffv1.Mode) event.Mode { return event.Mode(dec(m)) }

func decodeHook(h bailiffv1.Hook) event.Hook          { return event.Hook(dec(h)) }
func decodeVerdict(v bailiffv1.Verdict) event.Verdict { return event.Verdict(dec(v)) }
func decodeEffect(e bailiffv1.Effect) event.Effect    { return event.Effect(dec(e)) }

func dec[T ~int32](v T) uint8 {
	if v <= 0 || v > 256 {
		return 0
	}
	return uint8(v - 1)
}

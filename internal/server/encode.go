package server

import (
	"slices"

	"google.golang.org/protobuf/proto"

	"example.com/bailiff/internal/event"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// Encode turns an event into its wire form, as an object.
func Encode(e *event.Event) *bailiffv1.Event {
	out := &bailiffv1.Event{}
	_ = proto.Unmarshal(AppendEvent(nil, e), out) // cannot fail: all text that AppendEvent writes is UTF-8
	return out
}

// AppendEvent appends the wire form of an event: the bytes of a bailiff.v1
// Event. It is written by hand because every event passes here: no object is
// made in between. TestEveryFieldTravels fails for a field that is not sent.
func AppendEvent(b []byte, e *event.Event) []byte {
	w := wire{b: b}
	w.num(1, e.Seq)
	w.msg(2, func() {
		w.num(1, uint64(e.Time.Unix()))
		w.num(2, uint64(e.Time.Nanosecond()))
	})
	w.num(3, e.Boot)
	w.num(4, uint64(EncodeHook(e.Hook)))
	if e.Agent == nil {
		w.msg(5, func() { w.process(&e.Process) })
	}
	if e.File != nil {
		w.msg(6, func() { w.file(inFile, e.File) })
	}
	if e.Exec != nil {
		w.msg(7, func() { w.exec(e.Exec) })
	}
	if f := e.Fork; f != nil {
		w.msg(8, func() {
			w.num(1, uint64(f.PID))
			w.num(2, uint64(f.ExecID))
			w.num(3, f.Flags)
		})
	}
	if x := e.Exit; x != nil {
		w.msg(9, func() {
			w.num(1, uint64(x.Code))
			w.num(2, uint64(x.Signal))
			w.flag(3, x.Core)
		})
	}
	if t := e.Target; t != nil {
		w.msg(18, func() {
			w.num(1, uint64(t.PID))
			w.num(2, uint64(t.ExecID))
			w.list(3, "target.traits", t.Traits)
		})
	}
	w.list(10, "open", e.Open)
	w.num(11, e.CgroupProcs)
	w.msg(12, func() { w.decision(&e.Decision) })
	if n := e.Agent; n != nil {
		w.msg(13, func() {
			w.text(1, "agent.code", n.Code)
			w.text(2, "agent.text", n.Text)
			w.dict(3, "agent.fields", n.Fields)
		})
	}
	for _, f := range w.escaped {
		w.str(14, f)
	}
	for _, f := range e.Redacted {
		w.element(15, f)
	}
	w.num(16, e.CgroupRate)
	w.num(17, e.FileAge)
	return w.b
}

func (w *wire) exec(x *event.Exec) {
	w.num(1, uint64(x.ExecID))
	w.list(2, "exec.args", x.Args)
	w.num(3, uint64(x.ArgsTotal))
	w.flag(4, x.ArgsCut)
	w.dict(5, "exec.env", x.Env)
	w.flag(6, x.EnvCut)
	w.text(7, "exec.cwd", x.Cwd)
	w.text(8, "exec.opened_as", x.OpenedAs)
	w.text(9, "exec.script", x.Script)
	w.text(10, "exec.comm", x.Comm)
	w.text(11, "exec.interpreter", x.Interpreter)
	w.list(12, "exec.env_again", x.EnvAgain)
	if c := x.Creds; c != nil {
		w.msg(13, func() {
			w.num(1, uint64(c.EUID))
			w.num(2, uint64(c.EGID))
			w.num(3, c.CapEff)
		})
	}
}

func (w *wire) process(p *event.Process) {
	w.num(1, uint64(p.PID))
	w.num(2, uint64(p.TID))
	w.num(3, uint64(p.PPID))
	w.num(4, uint64(p.ExecID))
	w.num(5, uint64(p.ParentID))
	w.msg(6, func() { w.file(inExe, &p.Exe) })
	w.msg(7, func() { w.file(inParent, &p.Parent) })
	w.list(8, "process.ancestors", p.Ancestry)
	w.text(9, "process.comm", p.Comm)
	w.num(10, uint64(p.UID))
	w.num(11, uint64(p.EUID))
	w.num(12, uint64(p.GID))
	w.num(13, uint64(p.EGID))
	w.num(14, uint64(p.LoginUID))
	w.num(15, p.CapEff)
	w.num(16, p.CgroupID)
	w.text(17, "process.cgroup", p.Cgroup)
	w.num(18, uint64(p.MntNS))
	w.num(19, uint64(p.PidNS))
	w.num(20, uint64(p.UserNS))
	w.num(21, uint64(p.TTY))
	w.num(22, p.Start)
	w.list(23, "process.traits", p.Traits)
	w.list(24, "process.stdio", p.Stdio)
	for _, of := range p.AncestorNames {
		w.msg(25, func() { w.list(1, "process.ancestor_names", of) })
	}
	w.text(26, "process.shell", p.Shell)
	w.flag(27, p.AncestorsCut)
}

// fileFields are the names of a file's fields in Event.escaped: a file stands
// in three places, and names must not be put together for each event.
type fileFields struct{ path, names, fsType, traits, identities, sha256, verity, at string }

var (
	inFile   = fileFields{"file.path", "file.names", "file.fs_type", "file.traits", "file.identities", "file.sha256", "file.verity", "file.at"}
	inExe    = fileFields{"process.exe.path", "process.exe.names", "process.exe.fs_type", "process.exe.traits", "process.exe.identities", "process.exe.sha256", "process.exe.verity", "process.exe.at"}
	inParent = fileFields{"process.parent_exe.path", "process.parent_exe.names", "process.parent_exe.fs_type", "process.parent_exe.traits", "process.parent_exe.identities", "process.parent_exe.sha256", "process.parent_exe.verity", "process.parent_exe.at"}
)

func (w *wire) file(in fileFields, f *event.File) {
	w.msg(1, func() {
		w.num(1, uint64(f.ID.Dev))
		w.num(2, uint64(f.ID.Gen))
		w.num(3, f.ID.Ino)
	})
	w.text(2, in.path, f.Path)
	if len(f.Names) != 1 || f.Names[0] != f.Path {
		w.list(3, in.names, f.Names)
	}
	w.flag(4, f.Unresolved)
	w.num(5, uint64(f.Mode))
	w.num(6, uint64(f.UID))
	w.num(7, uint64(f.GID))
	w.num(8, uint64(f.Nlink))
	w.num(9, f.FsMagic)
	w.text(10, in.fsType, f.FsType)
	w.num(11, uint64(f.DirMode))
	w.num(12, uint64(f.DirUID))
	w.list(13, in.traits, f.Traits)
	w.list(14, in.identities, f.Identities)
	w.text(20, in.sha256, f.SHA256)
	w.text(21, in.verity, f.Verity)
	w.text(22, in.at, f.At)
}

func (w *wire) decision(d *event.Decision) {
	w.num(1, uint64(EncodeVerdict(d.Verdict)))
	w.num(2, uint64(d.Effect)+1)
	w.num(3, uint64(d.Source)+1)
	w.num(4, uint64(EncodeMode(d.Mode)))
	if d.Rule != nil {
		w.msg(5, func() { w.ref(d.Rule) })
	}
	for i := range d.Others {
		w.msg(6, func() { w.ref(&d.Others[i]) })
	}
	w.text(7, "decision.message", d.Message)
	w.text(8, "decision.revision", d.Revision)
	w.num(9, uint64(d.Generation))
	w.flag(10, d.Late)
	w.flag(11, d.Undecided)
	w.text(12, "decision.fail_open", d.FailOpen)
	w.flag(13, d.Divergence)
	w.flag(14, d.Commit)
	w.num(20, uint64(d.ModeBy)+1)
}

// ref: a rule's texts come from a bundle that OPA has parsed, which only takes
// UTF-8; its file name may be anything and is escaped without a mark.
func (w *wire) ref(r *event.RuleRef) {
	for i, s := range []string{r.ID, r.Path, r.File} {
		s, _ = escape(s)
		w.str(i+1, s)
	}
	w.num(4, uint64(r.Line))
	title, _ := escape(r.Title)
	severity, _ := escape(r.Severity)
	w.str(5, title)
	w.str(6, severity)
	for _, a := range r.Attack {
		a, _ = escape(a)
		w.element(7, a)
	}
}

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

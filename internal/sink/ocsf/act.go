package ocsf

import (
	"strconv"
	"strings"

	"example.com/bailiff/internal/event"
)

const (
	className  = "Process Activity"
	fileClass  = "File System Activity"
	linuxUsers = "linux/linux_users"
	security   = "security_control"
)

// Ways in which a process begins (launch_type_id).
const (
	launchFork = 2
	launchExec = 3
)

// fileActs are the acts on files: activity_id, its name, and what was done.
var fileActs = map[event.Hook]struct {
	id         int
	name, verb string
}{
	event.HookOpen:     {14, "Open", "opened"},
	event.HookMmap:     {99, "Other", "mapped for execution"},
	event.HookCreate:   {1, "Create", "made"},
	event.HookLink:     {99, "Other", "linked"},
	event.HookRename:   {5, "Rename", "moved"},
	event.HookUnlink:   {4, "Delete", "removed"},
	event.HookTruncate: {3, "Update", "truncated"},
	event.HookReceive:  {99, "Other", "received"},
}

// act writes what a process did.
func (r *record) act() {
	file, onFile := fileActs[r.e.Hook]
	switch h := r.e.Hook; {
	case onFile:
		r.head(classFile, file.id, fileClass, file.name)
	case h == event.HookFork:
		r.head(classProcess, 1, className, "Launch")
		r.launch(launchFork, "Fork")
	case h == event.HookExit:
		r.head(classProcess, 2, className, "Terminate")
		if x := r.e.Exit; x != nil {
			r.Int("exit_code", int64(x.Code))
		}
	case h == event.HookPtrace:
		r.head(classProcess, 3, className, "Open")
	default:
		r.head(classProcess, 1, className, "Launch")
		r.launch(launchExec, "Exec")
	}
	profiles := []string{linuxUsers}
	if r.judged() {
		profiles = []string{security, linuxUsers}
	}
	r.metadata(profiles...)
	r.Str("message", r.message())
	r.status()
	r.device()
	r.actor()
	switch h := r.e.Hook; {
	case onFile:
		r.file("file", r.e.File)
	case h == event.HookFork:
		r.forked()
	case h == event.HookPtrace:
		r.target()
	case h == event.HookExit:
		r.process("process", &r.e.Process, true)
	default:
		r.executed()
	}
	if r.judged() {
		r.security()
	}
	r.unmapped()
}

func (r *record) launch(id int, name string) {
	if r.v18() {
		r.Int("launch_type_id", int64(id))
		r.Str("launch_type", name)
	}
}

// status says how the act ended: what was blocked has failed.
func (r *record) status() {
	d := &r.e.Decision
	switch d.Effect {
	case event.EffectRefused:
		r.Int("status_id", 2)
		r.Str("status", "Failure")
		r.Str("status_code", "EPERM")
		r.Str("status_detail", "refused in the kernel, before the act")
	case event.EffectKilled:
		r.Int("status_id", 2)
		r.Str("status", "Failure")
		r.Str("status_code", "SIGKILL")
		if blocked(r.e) {
			r.Str("status_detail", "killed before the first instruction of the new program")
		} else {
			r.Str("status_detail", "killed after the act")
		}
	default:
		r.Int("status_id", 1)
		r.Str("status", "Success")
	}
}

// message is the sentence for people.
func (r *record) message() string {
	e := r.e
	var b strings.Builder
	switch d := &e.Decision; {
	case d.WouldDeny():
		b.WriteString("would deny: ")
	case d.Verdict == event.VerdictDeny:
		b.WriteString("denied: ")
	case d.Verdict == event.VerdictAlert:
		b.WriteString("alert: ")
	}
	if e.Decision.Message != "" {
		b.WriteString(e.Decision.Message)
		return b.String()
	}
	b.WriteString(e.Process.Exe.Path)
	switch {
	case e.Hook == event.HookPtrace:
		b.WriteString(" attached to " + e.File.Path)
	case e.Hook == event.HookFork:
		b.WriteString(" forked")
	case e.Hook == event.HookExit && e.Exit != nil && e.Exit.Signal > 0:
		b.WriteString(" ended by signal " + strconv.Itoa(int(e.Exit.Signal)))
	case e.Hook == event.HookExit && e.Exit != nil:
		b.WriteString(" ended with status " + strconv.Itoa(int(e.Exit.Code)))
	case e.File != nil && fileActs[e.Hook].verb != "":
		b.WriteString(" " + fileActs[e.Hook].verb + " " + e.File.Path)
	case e.File != nil:
		b.WriteString(" executed " + e.File.Path)
	}
	return b.String()
}

// unmapped writes what OCSF has no place for, under Bailiff's own names.
func (r *record) unmapped() {
	e, d := r.e, &r.e.Decision
	p := &e.Process
	r.Object("unmapped")
	r.Str("run_id", r.it.Run.ID)
	r.Uint("boot_ns", e.Boot)
	r.Object("decision")
	r.Str("verdict", r.it.Verdict())
	r.Str("effect", d.Effect.String())
	r.Str("source", d.Source.String())
	r.Str("mode", d.Mode.String())
	r.Opt("revision", d.Revision)
	r.Uint("generation", uint64(d.Generation))
	if d.Rule != nil {
		r.rule("rule", d.Rule)
	}
	if len(d.Others) > 0 {
		r.Array("others")
		for i := range d.Others {
			r.rule("", &d.Others[i])
		}
		r.EndArray()
	}
	r.Flag("late", d.Late)
	r.Flag("undecided", d.Undecided)
	r.Opt("fail_open", d.FailOpen)
	r.Flag("divergence", d.Divergence)
	r.Flag("commit", d.Commit)
	r.End()
	r.Opt("cgroup", p.Cgroup)
	r.Str("cgroup_id", strconv.FormatUint(p.CgroupID, 10))
	r.Str("comm", p.Comm)
	r.Str("cap_effective", strconv.FormatUint(p.CapEff, 16))
	r.Object("namespaces")
	r.Uint("mnt", uint64(p.MntNS))
	r.Uint("pid", uint64(p.PidNS))
	r.Uint("user", uint64(p.UserNS))
	r.End()
	r.Strs("process_traits", p.Traits)
	r.Strs("stdio", p.Stdio)
	r.Strs("open", e.Open)
	if e.File != nil {
		r.Opt("fs_type", e.File.FsType)
		r.Strs("traits", e.File.Traits)
		r.Strs("identities", e.File.Identities)
		r.Opt("sha256", e.File.SHA256)
		r.Opt("verity", e.File.Verity)
		r.Opt("at", e.File.At)
		if len(e.File.Names) > 1 {
			r.Strs("names", e.File.Names)
		}
		r.Flag("path_unresolved", e.File.Unresolved)
	}
	if x := e.Exec; x != nil {
		r.Strs("args", x.Args)
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
	}
	if x := e.Exit; x != nil && x.Signal > 0 {
		r.Int("signal", int64(x.Signal))
		r.Flag("core", x.Core)
	}
	if t := e.Target; t != nil {
		r.Strs("target_traits", t.Traits)
	}
	if f := e.Fork; f != nil {
		r.Str("clone_flags", strconv.FormatUint(f.Flags, 16))
	}
	r.Strs("escaped", r.Escaped)
	r.End()
}

func (r *record) rule(key string, ref *event.RuleRef) {
	r.Object(key)
	r.Str("id", ref.ID)
	r.Opt("package", ref.Path)
	r.Opt("file", ref.File)
	r.Int("line", int64(ref.Line))
	r.Opt("severity", ref.Severity)
	r.End()
}

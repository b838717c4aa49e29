package filter

import (
	"sync"

	"example.com/bailiff/internal/event"
)

// value gives a field of an event in a type that CEL knows. A field that does
// not apply is zero, as it is for rules.
type value func(*event.Event) any

// values has one entry for each field; a test holds it to the event table.
var values = sync.OnceValue(func() map[string]value {
	all := map[string]value{}
	for _, part := range []map[string]value{processValues(), fileValues(), actValues(), decisionValues()} {
		for name, v := range part {
			all[name] = v
		}
	}
	return all
})

func processValues() map[string]value {
	return map[string]value{
		"process.pid":             func(e *event.Event) any { return int64(e.Process.PID) },
		"process.ppid":            func(e *event.Event) any { return int64(e.Process.PPID) },
		"process.exec_id":         func(e *event.Event) any { return e.Process.ExecID.String() },
		"process.parent_exec_id":  func(e *event.Event) any { return e.Process.ParentID.String() },
		"process.exe.path":        func(e *event.Event) any { return e.Process.Exe.Path },
		"process.exe.name":        func(e *event.Event) any { return base(e.Process.Exe.Path) },
		"process.parent.exe.path": func(e *event.Event) any { return e.Process.Parent.Path },
		"process.parent.exe.name": func(e *event.Event) any { return base(e.Process.Parent.Path) },
		"process.ancestors":       func(e *event.Event) any { return list(e.Process.Ancestry) },
		"process.shell":           func(e *event.Event) any { return e.Process.Shell },
		"process.comm":            func(e *event.Event) any { return e.Process.Comm },
		"process.uid":             func(e *event.Event) any { return int64(e.Process.UID) },
		"process.euid":            func(e *event.Event) any { return int64(e.Process.EUID) },
		"process.gid":             func(e *event.Event) any { return int64(e.Process.GID) },
		"process.egid":            func(e *event.Event) any { return int64(e.Process.EGID) },
		"process.loginuid":        func(e *event.Event) any { return int64(e.Process.LoginUID) },
		"process.caps":            func(e *event.Event) any { return list(event.FlagNames(event.Capabilities, e.Process.CapEff)) },
		"process.cgroup.id":       func(e *event.Event) any { return int64(e.Process.CgroupID) },
		"process.cgroup.path":     func(e *event.Event) any { return e.Process.Cgroup },
		"process.ns.mnt":          func(e *event.Event) any { return int64(e.Process.MntNS) },
		"process.ns.pid":          func(e *event.Event) any { return int64(e.Process.PidNS) },
		"process.ns.user":         func(e *event.Event) any { return int64(e.Process.UserNS) },
		"process.tty":             func(e *event.Event) any { return int64(e.Process.TTY) },
		"process.traits":          func(e *event.Event) any { return list(e.Process.Traits) },
		"process.stdio":           func(e *event.Event) any { return list(e.Process.Stdio) },

		"process.cgroup.processes": func(e *event.Event) any { return int64(e.CgroupProcs) },

		"process.cgroup.forks_per_second": rate(event.HookFork),
		"process.cgroup.execs_per_second": rate(event.HookExec),
	}
}

func rate(h event.Hook) value {
	return func(e *event.Event) any {
		if e.Hook != h {
			return int64(0)
		}
		return int64(e.CgroupRate)
	}
}

func fileValues() map[string]value {
	of := func(get func(*event.File) any) value {
		none := get(&event.File{})
		return func(e *event.Event) any {
			if e.File == nil {
				return none
			}
			return get(e.File)
		}
	}
	return map[string]value{
		"file.path":       of(func(f *event.File) any { return f.Path }),
		"file.name":       of(func(f *event.File) any { return base(f.Path) }),
		"file.names":      of(names),
		"file.identities": of(func(f *event.File) any { return list(f.Identities) }),
		"file.mode":       of(func(f *event.File) any { return int64(f.Mode) }),
		"file.uid":        of(func(f *event.File) any { return int64(f.UID) }),
		"file.gid":        of(func(f *event.File) any { return int64(f.GID) }),
		"file.nlink":      of(func(f *event.File) any { return int64(f.Nlink) }),
		"file.fs.magic":   of(func(f *event.File) any { return int64(f.FsMagic) }),
		"file.fs.type":    of(func(f *event.File) any { return f.FsType }),
		"file.traits":     of(func(f *event.File) any { return list(f.Traits) }),
		"file.age":        func(e *event.Event) any { return int64(e.FileAge) },
		"file.dir.mode":   of(func(f *event.File) any { return int64(f.DirMode) }),
		"file.dir.uid":    of(func(f *event.File) any { return int64(f.DirUID) }),
		"file.sha256":     of(func(f *event.File) any { return f.SHA256 }),
		"file.at":         of(func(f *event.File) any { return f.At }),
		"file.verity":     of(func(f *event.File) any { return f.Verity }),
	}
}

func actValues() map[string]value {
	ofExec := func(get func(*event.Exec) any) value {
		none := get(&event.Exec{})
		return func(e *event.Event) any {
			if e.Exec == nil {
				return none
			}
			return get(e.Exec)
		}
	}
	fork := func(e *event.Event) event.Fork {
		if e.Fork == nil {
			return event.Fork{}
		}
		return *e.Fork
	}
	target := func(e *event.Event) event.Target {
		if e.Target == nil {
			return event.Target{}
		}
		return *e.Target
	}
	exit := func(e *event.Event) event.Exit {
		if e.Exit == nil {
			return event.Exit{}
		}
		return *e.Exit
	}
	return map[string]value{
		"seq":        func(e *event.Event) any { return int64(e.Seq) },
		"hook":       func(e *event.Event) any { return e.Hook.String() },
		"args":       ofExec(func(x *event.Exec) any { return list(x.Args) }),
		"env":        ofExec(func(x *event.Exec) any { return dict(x.Env) }),
		"cwd":        ofExec(func(x *event.Exec) any { return x.Cwd }),
		"script":     ofExec(func(x *event.Exec) any { return x.Script }),
		"open.flags": func(e *event.Event) any { return list(e.Open) },
		"fork.pid":   func(e *event.Event) any { return int64(fork(e).PID) },
		"fork.flags": func(e *event.Event) any { return int64(fork(e).Flags) },

		"target.pid":    func(e *event.Event) any { return int64(target(e).PID) },
		"target.traits": func(e *event.Event) any { return list(target(e).Traits) },

		"exit.code":   func(e *event.Event) any { return int64(exit(e).Code) },
		"exit.signal": func(e *event.Event) any { return int64(exit(e).Signal) },
	}
}

func decisionValues() map[string]value {
	rule := func(get func(*event.RuleRef) any) value {
		none := get(&event.RuleRef{})
		return func(e *event.Event) any {
			if e.Decision.Rule == nil {
				return none
			}
			return get(e.Decision.Rule)
		}
	}
	return map[string]value{
		"verdict":       func(e *event.Event) any { return e.Decision.Verdict.String() },
		"effect":        func(e *event.Event) any { return e.Decision.Effect.String() },
		"source":        func(e *event.Event) any { return e.Decision.Source.String() },
		"mode":          func(e *event.Event) any { return e.Decision.Mode.String() },
		"rule.id":       rule(func(r *event.RuleRef) any { return r.ID }),
		"rule.severity": rule(func(r *event.RuleRef) any { return r.Severity }),
		"rule.attack":   rule(func(r *event.RuleRef) any { return list(r.Attack) }),
		"rules":         rules,
		"message":       func(e *event.Event) any { return e.Decision.Message },
		"late":          func(e *event.Event) any { return e.Decision.Late },
		"undecided":     func(e *event.Event) any { return e.Decision.Undecided },
		"divergence":    func(e *event.Event) any { return e.Decision.Divergence },
		"commit":        func(e *event.Event) any { return e.Decision.Commit },
		"fail_open":     func(e *event.Event) any { return e.Decision.FailOpen },
	}
}

// rules lists the rules that fired, the deciding one first.
func rules(e *event.Event) any {
	out := []string{}
	if e.Decision.Rule != nil {
		out = append(out, e.Decision.Rule.ID)
	}
	for i := range e.Decision.Others {
		out = append(out, e.Decision.Others[i].ID)
	}
	return out
}

// names lists all names of a file; one that is not named otherwise has its path.
func names(f *event.File) any {
	if len(f.Names) == 0 && f.Path != "" {
		return []string{f.Path}
	}
	return list(f.Names)
}

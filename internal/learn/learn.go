// Package learn proposes a lockdown policy for a service out of recorded events:
// what the service did may go on, everything else is denied. It says what it is
// not sure of: a person decides.
package learn

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"time"

	"example.com/bailiff/internal/event"
)

// Learner takes the acts of one service, in the order in which they happened.
// The zero value is not usable: New.
type Learner struct {
	execs, reads, writes map[string]*seen
	mains                map[string]*seen // programs that something outside started in the service
	images               map[event.ExecID]bool
	cgroups              map[string]int
	forks, denied, acts  int
	mostProcs            uint64
	first, last          time.Time
}

// seen is what is known of one path.
type seen struct {
	count int
	file  event.File
	by    map[string]bool // programs that did it
}

// New returns a Learner that knows nothing.
func New() *Learner {
	return &Learner{execs: map[string]*seen{}, reads: map[string]*seen{}, writes: map[string]*seen{}, mains: map[string]*seen{},
		images: map[event.ExecID]bool{}, cgroups: map[string]int{}}
}

// Add takes one act. One that a rule denies is not learned: it is counted.
func (l *Learner) Add(e *event.Event) {
	if e.Decision.Verdict == event.VerdictDeny {
		l.denied++
		return
	}
	l.acts++
	if l.first.IsZero() || e.Time.Before(l.first) {
		l.first = e.Time
	}
	if e.Time.After(l.last) {
		l.last = e.Time
	}
	l.cgroups[event.UnitOf(e.Process.Cgroup)]++
	switch e.Hook {
	case event.HookExec:
		l.exec(e)
	case event.HookOpen:
		if slices.Contains(e.Open, "write") {
			note(l.writes, e.File.Path, e)
		}
		if slices.Contains(e.Open, "read") || !slices.Contains(e.Open, "write") {
			note(l.reads, e.File.Path, e)
		}
	case event.HookFork:
		l.forks++
		l.mostProcs = max(l.mostProcs, e.CgroupProcs)
		if e.Fork != nil && l.images[e.Process.ExecID] {
			l.images[e.Fork.ExecID] = true
		}
	}
}

func (l *Learner) exec(e *event.Event) {
	// Who was not seen to be of the service before came from outside: this
	// image is a beginning of it.
	if e.Exec != nil {
		if !l.images[e.Process.ExecID] && !l.inside(e) {
			note(l.mains, e.File.Path, e)
		}
		l.images[e.Exec.ExecID] = true
		if e.Exec.Script != "" {
			note(l.execs, e.Exec.Script, e)
		}
		if e.Exec.Interpreter != "" {
			note(l.execs, e.Exec.Interpreter, e)
		}
	}
	note(l.execs, e.File.Path, e)
}

// inside reports whether a program that began the service is above.
func (l *Learner) inside(e *event.Event) bool {
	if l.mains[e.Process.Exe.Path] != nil {
		return true
	}
	return slices.ContainsFunc(e.Process.Ancestry, func(p string) bool { return l.mains[p] != nil })
}

func note(to map[string]*seen, name string, e *event.Event) {
	s := to[name]
	if s == nil {
		s = &seen{by: map[string]bool{}}
		to[name] = s
	}
	s.count++
	if e.File != nil && e.File.Path == name {
		s.file = *e.File
	}
	s.by[e.Process.Exe.Path] = true
}

// Options say what to make of it.
type Options struct {
	Name string // of the service: letters, digits, _ and -
	// By says how the rules know the service's processes: by the programs that
	// began it (the kernel decides) or by its cgroup (user space is asked the
	// first time); "" chooses.
	By string
	// Cgroup is needed for By cgroup: path below the cgroup2 mount.
	Cgroup string
}

// The values of Options.By.
const (
	ByProgram = "program"
	ByCgroup  = "cgroup"
)

// Doubt is something that a person should look at.
type Doubt struct {
	Code string `json:"code"` // stable: see the constants
	What string `json:"what"` // path, or ""
	Why  string `json:"why"`
}

// Codes of doubts.
const (
	DoubtOnce        = "seen-once"
	DoubtTemp        = "temporary-name"
	DoubtWritable    = "world-writable"
	DoubtInterpreter = "interpreter"
	DoubtGrouped     = "grouped"
	DoubtNoOpens     = "no-opens"
	DoubtNoForks     = "no-forks"
	DoubtNoStart     = "no-start"
	DoubtShort       = "short"
	DoubtDenied      = "denied"
	DoubtCgroup      = "by-cgroup"
	DoubtUnresolved  = "unresolved"
)

// Proposal is the policy, as data; Bundle writes it.
type Proposal struct {
	Name string
	By   string
	Data
	Doubts []Doubt
	Acts   int // that it was made of
	First  time.Time
	Last   time.Time
}

// Data is what the rules read, below data.learned.NAME.
type Data struct {
	Programs    []string `json:"programs"` // that began the service
	Cgroup      string   `json:"cgroup"`
	Executables []string `json:"executables"`
	ExecBelow   []string `json:"exec_below"`
	Read        []string `json:"read"`
	ReadBelow   []string `json:"read_below"`
	Write       []string `json:"write"`
	WriteBelow  []string `json:"write_below"`
	Processes   uint64   `json:"processes"` // most that the service may have; 0: it may not fork
	opens       bool     // there were any: without them there are no rules on opens
}

// Opens reports whether there are rules on opens.
func (d *Data) Opens() bool { return d.opens }

// shells and interpreters run any text: to allow them is to allow much.
var interpreters = []string{"sh", "bash", "dash", "zsh", "ksh", "busybox", "python", "python2", "python3", "perl", "ruby", "node", "php", "lua", "java", "awk", "gawk", "mawk", "env", "tclsh"}

func isInterpreter(p string) bool {
	name := strings.TrimRight(path.Base(p), "0123456789.")
	return slices.Contains(interpreters, name) || slices.Contains(interpreters, path.Base(p))
}

// Propose makes a policy of what was learned so far.
func (l *Learner) Propose(o Options) *Proposal {
	p := &Proposal{Name: o.Name, Acts: l.acts, First: l.first, Last: l.last}
	p.Programs, p.Cgroup = keys(l.mains), o.Cgroup
	p.By = l.by(o, p)
	p.Executables, p.ExecBelow = group(l.execs, kindExec, p)
	p.opens = len(l.reads)+len(l.writes) > 0
	p.Read, p.ReadBelow = group(l.reads, kindRead, p)
	p.Write, p.WriteBelow = group(l.writes, kindWrite, p)
	if l.forks > 0 {
		p.Processes = max(16, 2*l.mostProcs)
	}
	l.doubts(p)
	slices.SortFunc(p.Doubts, func(a, b Doubt) int { return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.What, b.What)) })
	return p
}

// by chooses how the service is known.
func (l *Learner) by(o Options, p *Proposal) string {
	by := o.By
	if by == "" {
		by = ByProgram
		if len(l.mains) == 0 || slices.ContainsFunc(p.Programs, isInterpreter) {
			by = ByCgroup
		}
	}
	if by == ByCgroup {
		p.doubt(DoubtCgroup, o.Cgroup, "the service began with no program of its own (or none was recorded), so its processes are known by their cgroup: the first act of each kind is judged by OPA after it happened")
	} else if len(l.mains) == 0 {
		p.doubt(DoubtNoStart, "", "the start of the service is not in the recording: name its programs in the data by hand, or restart it and record again")
	}
	return by
}

func (p *Proposal) doubt(code, what, why string) {
	p.Doubts = append(p.Doubts, Doubt{code, what, why})
}

func (l *Learner) doubts(p *Proposal) {
	for _, name := range keys(l.execs) {
		s := l.execs[name]
		if isInterpreter(name) {
			p.doubt(DoubtInterpreter, name, "it runs any text that it is given: whoever can feed it is not held by the list of programs")
		}
		if s.count == 1 {
			p.doubt(DoubtOnce, name, "executed once only: part of the service, or of somebody who looked after it?")
		}
		if writable(&s.file) {
			p.doubt(DoubtWritable, name, "everybody may write to it or to its directory, so everybody may choose what the service executes")
		}
		if s.file.Unresolved || !strings.HasPrefix(name, "/") {
			p.doubt(DoubtUnresolved, name, "it has no path in the file tree (memory, unlinked, another mount): as a path it will hardly be met again")
		}
	}
	for _, name := range keys(l.writes) {
		if s := l.writes[name]; s.count == 1 && !temporary(name) && !below(p.WriteBelow, name) {
			p.doubt(DoubtOnce, name, "opened for writing once only")
		}
	}
	if !p.opens {
		p.doubt(DoubtNoOpens, "", "no opens were recorded, so there is no rule on opens: record with `bailiff run --all-opens`")
	}
	if l.forks == 0 {
		p.doubt(DoubtNoForks, "", "it was never seen to fork, so it may not")
	}
	if l.denied > 0 {
		p.doubt(DoubtDenied, "", "acts that a rule in force denies were left out: if the service needs them the rules disagree")
	}
	if d := l.last.Sub(l.first); d < 24*time.Hour {
		p.doubt(DoubtShort, "", "the recording spans "+d.Round(time.Second).String()+": what happens daily, at rotation, reload or update may be missing")
	}
}

func writable(f *event.File) bool {
	return slices.Contains(f.Traits, "world_writable") || slices.Contains(f.Traits, "dir_world_writable") || f.DirMode&0o002 != 0
}

func keys(m map[string]*seen) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

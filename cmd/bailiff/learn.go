package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/format"
	"github.com/spf13/cobra"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/learn"
	"example.com/bailiff/policy"
)

// learnFlags are what learn can be told.
type learnFlags struct {
	recording
	unit, name, out, by string
	holdBack            int
}

func (a *app) learnCmd() *cobra.Command {
	var f learnFlags
	c := &cobra.Command{
		Use:   "learn [EVENTS] --unit UNIT --out DIR",
		Short: "Propose a lockdown policy for a service",
		Long: `Propose a policy that lets a service do what it was recorded doing, and nothing
else: a bundle of readable Rego with data and tests, and UNSURE.md, which says
what a person should look at. Nothing of it is put in force.

To say how good it is, the last part of the recording is held back first: a
policy made of the rest is asked about it, and what it would deny is shown. The
bundle that is written is then made of everything.

` + recordingHelp + `

Opens are recorded for all files only while the agent runs with --all-opens;
without any there will be no rules on opens.`,
		Example: `  bailiff learn --unit nginx.service --out ./nginx
  bailiff learn /var/lib/bailiff/spool --cgroup /system.slice/nginx.service --since 168h --out ./nginx
  bailiff replay ./nginx /var/lib/bailiff/spool --cgroup /system.slice/nginx.service
  bailiff apply ./nginx --confirm 10m`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(args); err != nil {
				return err
			}
			return a.learn(c.Context(), &f)
		},
	}
	f.flags(c)
	fl := c.Flags()
	fl.StringVar(&f.unit, "unit", "", "only this systemd unit: the cgroups that have its name, such as nginx.service")
	fl.StringVar(&f.name, "name", "", "name of the service in the policy (default: from the unit or cgroup)")
	fl.StringVar(&f.out, "out", "", "directory to write the bundle to; it must not exist, or be empty")
	fl.StringVar(&f.by, "by", "", "how the rules know the service: program (that it began with; the kernel decides) or cgroup (default: program, unless that is an interpreter)")
	fl.IntVar(&f.holdBack, "hold-back", 25, "percentage of the acts, the last ones, that are held back to see what would be denied")
	_ = c.RegisterFlagCompletionFunc("by", fixed(learn.ByProgram, learn.ByCgroup))
	return c
}

func (f *learnFlags) check(args []string) error {
	if f.unit == "" && len(f.cgroups) == 0 {
		return usageError{fmt.Errorf("say of which service: --unit or --cgroup")}
	}
	if f.out == "" {
		return usageError{fmt.Errorf("say where to: --out DIR")}
	}
	if f.by != "" && f.by != learn.ByProgram && f.by != learn.ByCgroup {
		return usageError{fmt.Errorf("--by %q is not one of program, cgroup", f.by)}
	}
	if f.holdBack < 0 || f.holdBack > 90 {
		return usageError{fmt.Errorf("--hold-back %d is not between 0 and 90", f.holdBack)}
	}
	if f.name == "" {
		of := f.unit
		if of == "" {
			of = filepath.Base(f.cgroups[0])
		}
		f.name = learn.CleanName(of)
	}
	if err := learn.CheckName(f.name); err != nil {
		return usageError{fmt.Errorf("--name: %w", err)}
	}
	return f.prepare(args)
}

// ofUnit reports whether a cgroup is the unit's, or below.
func (f *learnFlags) ofUnit(cgroup string) bool {
	return f.unit == "" || slices.Contains(strings.Split(cgroup, "/"), f.unit)
}

// learned is the JSON answer of learn.
type learned struct {
	Out       string        `json:"out"`
	Name      string        `json:"name"`
	By        string        `json:"by"`
	Recording *summary      `json:"recording"`
	Data      learn.Data    `json:"data"`
	HeldBack  heldBack      `json:"held_back"`
	Unsure    []learn.Doubt `json:"unsure"`
}

// heldBack is what became of the acts that were held back.
type heldBack struct {
	Acts   int      `json:"acts"`
	Denied int      `json:"denied"`
	First  []string `json:"first,omitempty"` // of those that were denied
}

func (a *app) learn(ctx context.Context, f *learnFlags) error {
	var acts []*event.Event
	s, err := a.read(ctx, &f.recording, func(e *event.Event) error {
		if f.ofUnit(e.Process.Cgroup) {
			acts = append(acts, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(acts) == 0 {
		return &userError{Code: "recording", Why: "the recording has no act of this service", Hint: "bailiff events -o json shows the cgroup of each act"}
	}
	if err := emptyDir(f.out); err != nil {
		return err
	}
	o := learn.Options{Name: f.name, By: f.by, Cgroup: f.cgroupOf(acts)}
	held, err := tryLearned(ctx, acts, f.holdBack, o)
	if err != nil {
		return err
	}
	p := learnedFrom(acts, o)
	if err := writeProposal(p, f.out); err != nil {
		return err
	}
	out := learned{Out: f.out, Name: f.name, By: p.By, Recording: s, Data: p.Data, HeldBack: *held, Unsure: p.Doubts}
	if a.output == "json" {
		return a.printJSON(out)
	}
	return a.showLearned(&out)
}

// cgroupOf is the cgroup of the service: the unit's, else what was asked for.
func (f *learnFlags) cgroupOf(acts []*event.Event) string {
	if f.unit == "" {
		return f.filter.CgroupPrefixes[0]
	}
	path := acts[0].Process.Cgroup
	i := strings.Index(path+"/", "/"+f.unit+"/")
	return path[:i+1+len(f.unit)]
}

func learnedFrom(acts []*event.Event, o learn.Options) *learn.Proposal {
	l := learn.New()
	for _, e := range acts {
		l.Add(e)
	}
	return l.Propose(o)
}

// tryLearned makes a policy of the first acts and asks it about the last ones.
func tryLearned(ctx context.Context, acts []*event.Event, percent int, o learn.Options) (*heldBack, error) {
	n := len(acts) * percent / 100
	if n == 0 {
		return &heldBack{}, nil
	}
	dir, err := os.MkdirTemp("", "bailiff-learn-")
	if err != nil {
		return nil, fmt.Errorf("try what was learned: %w", err)
	}
	defer os.RemoveAll(dir)
	if err := writeProposal(learnedFrom(acts[:len(acts)-n], o), dir); err != nil {
		return nil, err
	}
	p, _, err := policy.Load(ctx, dir, policy.Options{})
	if err != nil {
		return nil, fmt.Errorf("try what was learned: %w", err)
	}
	defer p.Close(ctx)
	h := &heldBack{Acts: n}
	for _, e := range acts[len(acts)-n:] {
		d, err := p.Decide(ctx, e)
		if err != nil {
			return nil, fmt.Errorf("try what was learned: %w", err)
		}
		if d.Verdict != event.VerdictDeny {
			continue
		}
		if h.Denied++; len(h.First) < 20 {
			h.First = append(h.First, fmt.Sprintf("%s %s", e.Hook, d.Message))
		}
	}
	return h, nil
}

// writeProposal writes the bundle, formatted as `opa fmt` does.
func writeProposal(p *learn.Proposal, dir string) error {
	files, err := p.Bundle()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		b := files[name]
		if filepath.Ext(name) == ".rego" {
			if b, err = format.Source(name, b); err != nil {
				return fmt.Errorf("format %s: %w", name, err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return fmt.Errorf("write bundle: %w", err)
		}
	}
	return nil
}

func emptyDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) || err == nil && len(entries) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	return &userError{Code: "exists", Why: dir + " is not empty", Hint: "name a new directory: what you have changed by hand is not overwritten"}
}

func (a *app) showLearned(l *learned) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", l.Recording.line())
	by := "the programs that it began with: " + strings.Join(l.Data.Programs, ", ")
	if l.By == learn.ByCgroup {
		by = "its cgroup: " + l.Data.Cgroup
	}
	fmt.Fprintf(&b, "%s is known by %s\n", l.Name, visible(by))
	fmt.Fprintf(&b, "it may execute %d programs; read %d files and %d directories, write %d files and %d directories; have %d processes\n",
		len(l.Data.Executables), len(l.Data.Read), len(l.Data.ReadBelow), len(l.Data.Write), len(l.Data.WriteBelow), l.Data.Processes)
	fmt.Fprintf(&b, "of the last %d acts, held back, what was learned from the rest would have denied %d\n", l.HeldBack.Acts, l.HeldBack.Denied)
	for _, d := range l.HeldBack.First {
		fmt.Fprintf(&b, "  %s\n", visible(d))
	}
	counts := map[string]int{}
	for _, d := range l.Unsure {
		counts[d.Code]++
	}
	var unsure []string
	for _, code := range slices.Sorted(maps.Keys(counts)) {
		unsure = append(unsure, fmt.Sprintf("%d %s", counts[code], code))
	}
	fmt.Fprintf(&b, "not sure: %s: read %s\n", strings.Join(unsure, ", "), visible(filepath.Join(l.Out, "UNSURE.md")))
	fmt.Fprintf(&b, "next: bailiff check %[1]s; bailiff test %[1]s; bailiff apply %[1]s --confirm 10m\n", visible(l.Out))
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

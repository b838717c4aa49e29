package server

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/filter"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// Filter says which events a subscriber wants. All parts that are given must
// hold, a list holds if one entry does. Notices pass every part but
// WithoutNotices. The zero Filter takes everything.
type Filter struct {
	Hooks          []event.Hook
	Verdicts       []event.Verdict
	Effects        []event.Effect
	RuleIDs        []string // the deciding rule or another one that fired
	PIDs           []int32  // acting or new process
	CgroupIDs      []uint64
	CgroupPrefixes []string // whole components
	PathPrefixes   []string // any name of the object, or the script
	ExePrefixes    []string // any name of the acting program
	FindingsOnly   bool     // see IsFinding
	Expression     *filter.Expression
	WithoutNotices bool
}

// maxFilter bounds the entries of one list of a request: a filter runs for
// each event, before anything else.
const maxFilter = 256

// filterOf reads a request. Enumerations that this agent does not know are an
// error: to ignore them would send what was not asked for.
func filterOf(r *bailiffv1.EventsRequest) (Filter, error) {
	f := Filter{
		RuleIDs: r.GetRuleIds(), PIDs: r.GetPids(), CgroupIDs: r.GetCgroupIds(), CgroupPrefixes: r.GetCgroupPrefixes(),
		PathPrefixes: r.GetPathPrefixes(), ExePrefixes: r.GetExePrefixes(),
		FindingsOnly: r.GetFindingsOnly(), WithoutNotices: r.GetWithoutNotices(),
	}
	for _, n := range []int{len(r.GetHooks()), len(r.GetVerdicts()), len(r.GetEffects()), len(f.RuleIDs), len(f.PIDs),
		len(f.CgroupIDs), len(f.CgroupPrefixes), len(f.PathPrefixes), len(f.ExePrefixes)} {
		if n > maxFilter {
			return f, status.Errorf(codes.InvalidArgument, "filter has %d entries in one list, at most %d are allowed", n, maxFilter)
		}
	}
	for _, h := range r.GetHooks() {
		if h < bailiffv1.Hook_HOOK_NONE || h > bailiffv1.Hook_HOOK_EXIT {
			return f, status.Errorf(codes.InvalidArgument, "filter has an unknown hook %v", h)
		}
		f.Hooks = append(f.Hooks, decodeHook(h))
	}
	for _, v := range r.GetVerdicts() {
		if v < bailiffv1.Verdict_VERDICT_NONE || v > bailiffv1.Verdict_VERDICT_DENY {
			return f, status.Errorf(codes.InvalidArgument, "filter has an unknown verdict %v", v)
		}
		f.Verdicts = append(f.Verdicts, decodeVerdict(v))
	}
	for _, e := range r.GetEffects() {
		if e < bailiffv1.Effect_EFFECT_NONE || e > bailiffv1.Effect_EFFECT_HELD {
			return f, status.Errorf(codes.InvalidArgument, "filter has an unknown effect %v", e)
		}
		f.Effects = append(f.Effects, decodeEffect(e))
	}
	if s := r.GetFilter(); s != "" {
		x, err := filter.Compile(s)
		if err != nil {
			return f, status.Error(codes.InvalidArgument, utf8Of(err.Error()))
		}
		f.Expression = x
	}
	return f, nil
}

// Match reports whether the subscriber wants e.
func (f *Filter) Match(e *event.Event) bool {
	if e.Agent != nil {
		return !f.WithoutNotices
	}
	d := &e.Decision
	return has(f.Hooks, e.Hook) && has(f.Verdicts, d.Verdict) && has(f.Effects, d.Effect) &&
		(!f.FindingsOnly || IsFinding(d)) &&
		(len(f.PIDs) == 0 || slices.Contains(f.PIDs, e.Process.PID) || e.Fork != nil && slices.Contains(f.PIDs, e.Fork.PID)) &&
		has(f.CgroupIDs, e.Process.CgroupID) &&
		(len(f.CgroupPrefixes) == 0 || slices.ContainsFunc(f.CgroupPrefixes, func(p string) bool { return below(e.Process.Cgroup, p) })) &&
		(len(f.RuleIDs) == 0 || f.rule(d)) &&
		(len(f.PathPrefixes) == 0 || f.path(e)) &&
		(len(f.ExePrefixes) == 0 || fileBelow(&e.Process.Exe, f.ExePrefixes)) &&
		(f.Expression == nil || f.Expression.Match(e))
}

// IsFinding reports whether a decision is one that people look for: alert or
// deny, an act that passed unjudged, or a disagreement about it.
func IsFinding(d *event.Decision) bool {
	return d.Verdict == event.VerdictAlert || d.Verdict == event.VerdictDeny || d.FailOpen != "" || d.Undecided || d.Divergence
}

func (f *Filter) rule(d *event.Decision) bool {
	return d.Rule != nil && slices.Contains(f.RuleIDs, d.Rule.ID) ||
		slices.ContainsFunc(d.Others, func(r event.RuleRef) bool { return slices.Contains(f.RuleIDs, r.ID) })
}

func (f *Filter) path(e *event.Event) bool {
	return e.File != nil && fileBelow(e.File, f.PathPrefixes) ||
		e.Exec != nil && e.Exec.Script != "" && hasPrefix(e.Exec.Script, f.PathPrefixes)
}

func fileBelow(f *event.File, prefixes []string) bool {
	return hasPrefix(f.Path, prefixes) || f.At != "" && hasPrefix(f.At, prefixes) || slices.ContainsFunc(f.Names, func(n string) bool { return hasPrefix(n, prefixes) })
}

func hasPrefix(s string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}

// below reports whether cgroup is dir or lies in it.
func below(cgroup, dir string) bool {
	rest, ok := strings.CutPrefix(cgroup, strings.TrimSuffix(dir, "/"))
	return ok && (rest == "" || rest[0] == '/')
}

func has[T comparable](list []T, v T) bool { return len(list) == 0 || slices.Contains(list, v) }

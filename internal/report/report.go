// Package report sums up recorded events: what the rules said, by rule,
// program and cgroup, so that a person can tell in a minute what enforcing
// would break, and what must become an exception.
package report

import (
	"cmp"
	"slices"
	"time"

	"example.com/bailiff/internal/event"
)

// Bounds of what is kept: acts beyond are counted, not shown one by one.
const (
	maxGroups  = 50_000
	maxObjects = 64 // of one group
)

// Outcome is what became of an act that a rule spoke about.
type Outcome string

// The outcomes, worst first.
const (
	Denied    Outcome = "deny"
	WouldDeny Outcome = "would-deny" // denied by a rule, not blocked
	Alerted   Outcome = "alert"
)

// Group is all acts of one program in one cgroup that one rule spoke about.
type Group struct {
	Rule    string     `json:"rule"`
	Outcome Outcome    `json:"outcome"`
	Hook    event.Hook `json:"hook"`
	Exe     string     `json:"exe"`    // the program that acted
	Cgroup  string     `json:"cgroup"` // its path
	Count   uint64     `json:"count"`
	First   time.Time  `json:"first"`
	Last    time.Time  `json:"last"`
	Message string     `json:"message,omitempty"` // of the newest
	Objects []Object   `json:"objects"`           // what was acted on, most frequent first
	More    uint64     `json:"more,omitempty"`    // acts on further objects
	index   map[string]int
}

// Object is one thing that a group's acts were about.
type Object struct {
	Path   string       `json:"path"` // of the file; "" for a fork
	Count  uint64       `json:"count"`
	Seq    uint64       `json:"seq"` // of the newest such event
	Sample *event.Event `json:"-"`   // the newest such event
}

// Rule is the sum over all groups of one rule and outcome.
type Rule struct {
	Ref     event.RuleRef `json:"rule"`
	Outcome Outcome       `json:"outcome"`
	Hook    event.Hook    `json:"hook"`
	Count   uint64        `json:"count"`
	First   time.Time     `json:"first"`
	Last    time.Time     `json:"last"`
	Groups  []*Group      `json:"groups"`
}

type groupKey struct {
	rule, exe, cgroup string
	outcome           Outcome
}

type ruleKey struct {
	id      string
	outcome Outcome
}

// Report collects. The zero value is ready.
type Report struct {
	rules  map[ruleKey]*Rule
	groups map[groupKey]*Group
	Beyond uint64 // acts of groups beyond the bound
}

// OutcomeOf tells what a decision came to; "" if no rule spoke.
func OutcomeOf(d *event.Decision) Outcome {
	switch {
	case d.Rule == nil:
		return ""
	case d.WouldDeny():
		return WouldDeny
	case d.Verdict == event.VerdictDeny:
		return Denied
	case d.Verdict == event.VerdictAlert:
		return Alerted
	}
	return ""
}

// Add counts one event; it says whether a rule spoke about it.
func (r *Report) Add(e *event.Event) bool {
	outcome := OutcomeOf(&e.Decision)
	if outcome == "" {
		return false
	}
	if r.rules == nil {
		r.rules, r.groups = map[ruleKey]*Rule{}, map[groupKey]*Group{}
	}
	rk := ruleKey{e.Decision.Rule.ID, outcome}
	rule := r.rules[rk]
	if rule == nil {
		rule = &Rule{Ref: *e.Decision.Rule, Outcome: outcome, Hook: e.Hook, First: e.Time}
		r.rules[rk] = rule
	}
	rule.Count++
	span(&rule.First, &rule.Last, e.Time)

	gk := groupKey{rk.id, e.Process.Exe.Path, e.Process.Cgroup, outcome}
	g := r.groups[gk]
	if g == nil {
		if len(r.groups) >= maxGroups {
			r.Beyond++
			return true
		}
		g = &Group{Rule: gk.rule, Outcome: outcome, Hook: e.Hook, Exe: gk.exe, Cgroup: gk.cgroup, First: e.Time, index: map[string]int{}}
		r.groups[gk] = g
		rule.Groups = append(rule.Groups, g)
	}
	g.add(e)
	return true
}

func (g *Group) add(e *event.Event) {
	g.Count++
	span(&g.First, &g.Last, e.Time)
	if e.Decision.Message != "" {
		g.Message = e.Decision.Message
	}
	path := ""
	if e.File != nil {
		path = e.File.Path
	}
	i, known := g.index[path]
	if !known {
		if len(g.Objects) >= maxObjects {
			g.More++
			return
		}
		i = len(g.Objects)
		g.index[path] = i
		g.Objects = append(g.Objects, Object{Path: path})
	}
	o := &g.Objects[i]
	o.Count++
	o.Seq, o.Sample = e.Seq, e
}

func span(first, last *time.Time, t time.Time) {
	if t.Before(*first) {
		*first = t
	}
	if t.After(*last) {
		*last = t
	}
}

// rank puts what enforcing would change first.
func (o Outcome) rank() int { return slices.Index([]Outcome{WouldDeny, Denied, Alerted}, o) }

// Rules returns the sums: what would be denied first, then what was, then
// alerts; within that the most frequent first.
func (r *Report) Rules() []*Rule {
	out := make([]*Rule, 0, len(r.rules))
	for _, rule := range r.rules {
		for _, g := range rule.Groups {
			slices.SortStableFunc(g.Objects, func(a, b Object) int {
				return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Path, b.Path))
			})
			for i, o := range g.Objects {
				g.index[o.Path] = i
			}
		}
		slices.SortFunc(rule.Groups, func(a, b *Group) int {
			return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Exe, b.Exe), cmp.Compare(a.Cgroup, b.Cgroup))
		})
		out = append(out, rule)
	}
	slices.SortFunc(out, func(a, b *Rule) int {
		return cmp.Or(cmp.Compare(a.Outcome.rank(), b.Outcome.rank()), cmp.Compare(b.Count, a.Count), cmp.Compare(a.Ref.ID, b.Ref.ID))
	})
	return out
}

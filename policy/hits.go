package policy

import (
	"fmt"
	"slices"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/topdown"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// Coverage says what of a bundle its tests reach.
type Coverage struct {
	Percent float64        `json:"percent"` // of the lines of Rego that hold something to evaluate
	Files   []FileCoverage `json:"files"`
	Rules   []RuleCoverage `json:"rules"`
}

// FileCoverage is one file of rules.
type FileCoverage struct {
	File    string      `json:"file"`
	Percent float64     `json:"percent"`
	Missed  []LineRange `json:"missed"` // what no test evaluates
}

// LineRange is some lines of a file.
type LineRange struct {
	From int `json:"from"`
	To   int `json:"to"`
}

// RuleCoverage says which of a rule's ways to fire were tried.
type RuleCoverage struct {
	Rule    string           `json:"rule"`
	Hook    event.Hook       `json:"hook"`
	File    string           `json:"file"`
	Line    int              `json:"line"`
	Fired   int              `json:"fired"`  // different acts for which it fired
	Silent  int              `json:"silent"` // different acts for which it did not
	Clauses []ClauseCoverage `json:"clauses"`
}

// ClauseCoverage is one clause of the lowered form.
type ClauseCoverage struct {
	Clause string `json:"clause"`
	Fired  int    `json:"fired"` // different acts for which it held when the rule fired
}

// Missed counts clauses that no test reaches; a rule without any counts as one
// if it never fires.
func (r *RuleCoverage) Missed() int {
	n := 0
	for _, c := range r.Clauses {
		if c.Fired == 0 {
			n++
		}
	}
	if len(r.Clauses) == 0 && r.Fired == 0 {
		n++
	}
	return n
}

// hits is told of every step of the evaluation of tests.
type hits struct {
	*cover.Cover
	mu    sync.Mutex
	rules map[string]*ruleHits // "file:row" -> inputs
}

// ruleHits are the input documents with which a rule was tried, by their text.
type ruleHits struct {
	tried map[string]bool
	fired map[string]*ast.Term
}

func newHits() *hits { return &hits{Cover: cover.New(), rules: map[string]*ruleHits{}} }

// TraceEvent implements topdown.QueryTracer.
func (h *hits) TraceEvent(e topdown.Event) {
	h.Cover.TraceEvent(e)
	r, ok := e.Node.(*ast.Rule)
	if !ok || e.Op != topdown.EnterOp && e.Op != topdown.ExitOp || r.Head.RuleKind() != ast.MultiValue || e.Input() == nil {
		return
	}
	h.note(placeOf(r), e.Input(), e.Op == topdown.ExitOp)
}

func (h *hits) note(place string, input *ast.Term, fired bool) {
	key := input.String()
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.rules[place]
	if at == nil {
		at = &ruleHits{map[string]bool{}, map[string]*ast.Term{}}
		h.rules[place] = at
	}
	at.tried[key] = true
	if fired {
		at.fired[key] = input
	}
}

func placeOf(r *ast.Rule) string {
	return fmt.Sprintf("%s:%d", within(r.Location.File), r.Location.Row)
}

// report puts together what was seen.
func (h *hits) report(p *Policy, modules map[string]*ast.Module) Coverage {
	rep := h.Cover.Report(modules)
	byName := map[string]string{} // OPA's name of the file -> ours
	for name, m := range modules {
		byName[name] = within(name)
		if m.Package.Location != nil {
			byName[m.Package.Location.File] = within(name)
		}
	}
	out := Coverage{Files: []FileCoverage{}, Rules: []RuleCoverage{}}
	covered, all := 0, 0
	files := map[string]*FileCoverage{}
	for _, name := range sortedKeys(rep.Files) {
		ours, tested := byName[name]
		if !tested {
			continue
		}
		f := rep.Files[name]
		covered, all = covered+f.CoveredLines, all+f.CoveredLines+f.NotCoveredLines
		fc := files[ours]
		if fc == nil {
			fc = &FileCoverage{File: ours, Percent: 100, Missed: []LineRange{}}
			files[ours] = fc
		}
		if f.CoveredLines+f.NotCoveredLines > 0 {
			fc.Percent = f.Coverage
		}
		for _, r := range f.NotCovered {
			fc.Missed = append(fc.Missed, LineRange{r.Start.Row, r.End.Row})
		}
	}
	for _, name := range sortedKeys(files) {
		out.Files = append(out.Files, *files[name])
	}
	if all > 0 {
		out.Percent = 100 * float64(covered) / float64(all)
	}
	for _, hook := range event.Judged {
		if hp := p.hooks[hook]; hp != nil {
			for i := range hp.rules {
				out.Rules = append(out.Rules, h.rule(hook, &hp.rules[i], &p.program.Rules[hook][i]))
			}
		}
	}
	slices.SortStableFunc(out.Rules, func(a, b RuleCoverage) int { return b.Missed() - a.Missed() })
	return out
}

// rule finds for each act with which the rule fired the clauses that hold.
func (h *hits) rule(hook event.Hook, r *rule, lowered *ir.Rule) RuleCoverage {
	out := RuleCoverage{Rule: r.Ref.ID, Hook: hook, File: r.Ref.File, Line: r.Ref.Line, Clauses: []ClauseCoverage{}}
	at := h.rules[placeOf(r.Rego)]
	if at == nil {
		at = &ruleHits{}
	}
	out.Fired, out.Silent = len(at.fired), len(at.tried)-len(at.fired)
	for i := range lowered.Clauses {
		out.Clauses = append(out.Clauses, ClauseCoverage{Clause: lowered.Clauses[i].String()})
	}
	for _, input := range at.fired {
		doc, err := ast.JSON(input.Value)
		if err != nil {
			continue
		}
		m, ok := doc.(map[string]any)
		if !ok {
			continue
		}
		key := keyOfTest(hook, m)
		for i := range lowered.Clauses {
			if key != nil && lowered.Clauses[i].Holds(key) {
				out.Clauses[i].Fired++
			}
		}
	}
	return out
}

// keyOfTest makes the kernel's key of a document that somebody wrote down for a
// test, in which a name may be another than the path has; nil if it is none.
func keyOfTest(hook event.Hook, doc map[string]any) *ir.Key {
	if s, ok := doc["hook"].(string); ok { // one of those that the package judges
		if h, err := event.ParseHook(s); err == nil && h.Package() == hook {
			hook = h
		}
	}
	names := map[event.FieldID]string{}
	for field, path := range map[event.FieldID][]string{
		event.FieldName: {"file"}, event.FieldExeName: {"process", "exe"}, event.FieldParentName: {"process", "parent", "exe"},
	} {
		at := doc
		for _, k := range path {
			at, _ = at[k].(map[string]any)
		}
		if s, ok := at["name"].(string); ok && at["path"] != nil {
			names[field] = s
			delete(at, "name")
		}
	}
	e, err := EventOf(hook, doc)
	if err != nil {
		return nil // it has what no act has
	}
	key := ir.KeyOf(e)
	for field, s := range names {
		key.Str[field] = []string{s}
	}
	return key
}

package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/lower"
)

// collect finds the rules of the hooks, checks their shape, reads their
// annotations, and puts them into the order in which they win.
func collect(c *ast.Compiler, f *files) ([]lower.Rule, Errors, error) {
	k := &collector{compiler: c, files: f, ids: map[string]event.RuleRef{}}
	for _, file := range sortedKeys(c.Modules) {
		m := c.Modules[file]
		for _, r := range m.Rules {
			k.rule(m.Package.Path, r)
		}
	}
	if len(k.errs) > 0 {
		return nil, nil, k.errs.sorted()
	}
	if n := f.limits.Rules; len(k.rules) > n && n > 0 {
		over := k.rules[n]
		return nil, nil, Errors{f.at(CodeLimit, over.Rego.Location, fmt.Sprintf("the bundle has more than %d deny and alert rules", n),
			"put what the rules have in common into data, and read it with one rule")}
	}
	if len(k.rules) == 0 {
		return nil, nil, Errors{{Code: CodeEmpty, Why: "the bundle has no deny or alert rule in bailiff.exec, bailiff.open or bailiff.fork",
			Hint: "a rule is: package bailiff.exec, then: deny contains \"why\" if { ... }"}}
	}
	slices.SortStableFunc(k.rules, func(a, b lower.Rule) int {
		return cmp.Or(cmp.Compare(a.Hook, b.Hook), cmp.Compare(rank(&a), rank(&b)),
			cmp.Compare(a.Ref.File, b.Ref.File), cmp.Compare(a.Ref.Line, b.Ref.Line))
	})
	return k.rules, k.warnings.sorted(), nil
}

func rank(r *lower.Rule) int {
	switch {
	case r.Verdict == event.VerdictAlert:
		return 2
	case r.Audit:
		return 1
	}
	return 0
}

type collector struct {
	compiler *ast.Compiler
	files    *files
	ids      map[string]event.RuleRef
	rules    []lower.Rule
	errs     Errors
	warnings Errors
}

func (k *collector) rule(pkg ast.Ref, r *ast.Rule) {
	path := pkg.Extend(r.Head.Ref())
	whole := path.ConstantPrefix().String()
	for _, h := range event.Judged {
		for _, v := range []event.Verdict{event.VerdictDeny, event.VerdictAlert} {
			set := "data.bailiff." + h.String() + "." + v.String()
			switch {
			case whole == set && len(path) == len(path.ConstantPrefix()) && r.Head.RuleKind() == ast.MultiValue && !r.Default:
				k.add(h, v, strings.TrimPrefix(set, "data."), r)
				return
			case whole == set || strings.HasPrefix(whole, set+".") || strings.HasPrefix(whole, set+"["):
				k.fail(CodeShape, r.Location, fmt.Sprintf("%s must be a partial set", v),
					fmt.Sprintf("write: %s contains \"why\" if { ... }", v))
				return
			}
		}
	}
	name := path[len(path)-1].Value.String()
	if strings.HasPrefix(whole, "data.bailiff.") && (strings.HasSuffix(whole, ".deny") || strings.HasSuffix(whole, ".alert")) {
		k.fail(CodePackage, r.Location, fmt.Sprintf("%s is not in the package of a hook, so it would never be asked", strings.Trim(name, `"`)),
			"hooks are bailiff.exec, bailiff.open and bailiff.fork")
	}
}

func (k *collector) add(h event.Hook, v event.Verdict, set string, r *ast.Rule) {
	rule := lower.Rule{Rego: r, Hook: h, Verdict: v, Ref: event.RuleRef{
		ID:   fmt.Sprintf("%s@%s:%d", set, within(r.Location.File), r.Location.Row),
		Path: set, File: within(r.Location.File), Line: r.Location.Row,
	}}
	k.annotate(&rule)
	if was, twice := k.ids[rule.Ref.ID]; twice {
		k.fail(CodeDuplicate, r.Location, fmt.Sprintf("the id %q is already taken by %s:%d", rule.Ref.ID, was.File, was.Line),
			"an id names one rule; an annotation with scope: document covers all rules of a set, use scope: rule")
		return
	}
	k.ids[rule.Ref.ID] = rule.Ref
	k.rules = append(k.rules, rule)
}

func (k *collector) fail(code string, at *ast.Location, why, hint string) {
	k.errs = append(k.errs, k.files.at(code, at, why, hint))
}

func (k *collector) warn(code string, at *ast.Location, why, hint string) {
	k.warnings = append(k.warnings, k.files.at(code, at, why, hint))
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

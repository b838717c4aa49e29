package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown/cache"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
	"example.com/bailiff/policy/lower"
)

// Policy is one compiled and lowered bundle revision. Its answers never change,
// and it is safe for concurrent use.
type Policy struct {
	src      lower.Source
	program  *ir.Program
	deferred []lower.Deferred
	hooks    map[event.Hook]*hookPolicy
	document *node
	cache    cache.InterQueryValueCache
	whole    *allowance // for Recheck
}

// hookPolicy is what is evaluated for one hook. rules[i] belongs to
// program.Rules[hook][i].
type hookPolicy struct {
	any   ast.Body // succeeds when any rule of the hook fires; goes through OPA's rule index
	rules []rule
	index *ruleIndex
	every []int    // 0, 1, ... len(rules)-1
	reads fieldSet // what of the document they may read, all together
	key   keyPlan
}

type rule struct {
	lower.Rule
	body  ast.Body // the rule's own body, and then: headVar = its head
	reads fieldSet // what of the document evaluating it may read
}

// headVar receives the head of a rule that fires. The name cannot be written in Rego.
const headVar = ast.Var("__bailiff_head__")

// valueCacheEntries bounds OPA's cache of compiled regular expressions and
// globs; its default of 100 makes 1,000 regex rules six times slower.
const valueCacheEntries = 4096

func newPolicy(ctx context.Context, src lower.Source, rules []lower.Rule, program *ir.Program, deferred []lower.Deferred) (*Policy, error) {
	config, err := cache.ParseCachingConfig(fmt.Appendf(nil, `{"inter_query_builtin_value_cache":{"max_num_entries":%d}}`, valueCacheEntries))
	if err != nil {
		return nil, fmt.Errorf("configure value cache: %w", err)
	}
	p := &Policy{
		src: src, program: program, deferred: deferred,
		hooks:    map[event.Hook]*hookPolicy{},
		document: documentTree(event.Fields),
		cache:    cache.NewInterQueryValueCache(context.WithoutCancel(ctx), config),
		whole:    newAllowance(),
	}
	for _, r := range rules {
		h := p.hooks[r.Hook]
		if h == nil {
			h = &hookPolicy{key: planKey(program.Rules[r.Hook]), index: indexRules(program.Rules[r.Hook])}
			for _, f := range h.key.fields {
				h.key.nodes = append(h.key.nodes, p.document.at(f))
			}
			p.hooks[r.Hook] = h
		}
		body := append(ast.Body{}, r.Rego.Body...)
		body.Append(ast.Equality.Expr(ast.NewTerm(headVar), r.Rego.Head.Key))
		h.every = append(h.every, len(h.rules))
		reads := readsOf(src, r.Rego)
		h.reads = h.reads.union(reads)
		h.rules = append(h.rules, rule{r, body, reads})
	}
	for hook, h := range p.hooks {
		if h.any, err = p.anyQuery(hook, h.rules); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// readsOf is what the document must hold for a rule.
func readsOf(src lower.Source, r *ast.Rule) fieldSet {
	paths, all := lower.Reads(src, event.Fields, r)
	if all {
		return everyField
	}
	var out fieldSet
	for i, f := range event.Fields {
		if slices.Contains(paths, f.Path) {
			out.add(i)
		}
	}
	return out
}

// anyQuery reads the rule sets of a hook as a whole, so that OPA looks up its
// rule index once for each set instead of trying each rule.
func (p *Policy) anyQuery(h event.Hook, rules []rule) (ast.Body, error) {
	var parts []string
	seen := map[string]bool{}
	for _, r := range rules {
		if !seen[r.Ref.Path] {
			seen[r.Ref.Path] = true
			parts = append(parts, fmt.Sprintf("data.%s = x%d", r.Ref.Path, len(parts)))
		}
	}
	body, err := ast.ParseBody(strings.Join(parts, "; "))
	if err != nil {
		return nil, fmt.Errorf("write query for %s: %w", h, err)
	}
	if body, err = p.src.Compiler.QueryCompiler().Compile(body); err != nil {
		return nil, fmt.Errorf("compile query for %s: %w", h, err)
	}
	return body, nil
}

// Program returns the lowered form.
func (p *Policy) Program() *ir.Program { return p.program }

// Revision returns the manifest's revision, or a digest of the files.
func (p *Policy) Revision() string { return p.program.Revision }

// Close lets go of the store. The policy must not be used afterwards.
func (p *Policy) Close(ctx context.Context) { p.src.Store.Abort(ctx, p.src.Txn) }

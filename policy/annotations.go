package policy

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
	"example.com/bailiff/policy/lower"
)

var severities = []string{"info", "low", "medium", "high", "critical"}

// annotate reads the annotations of rule scope. A value that is not understood
// is an error: "response: kil" must not mean "do not kill".
func (k *collector) annotate(r *lower.Rule) {
	for _, a := range k.compiler.GetAnnotationSet().GetRuleScope(r.Rego) {
		if a.Title != "" {
			r.Ref.Title = a.Title
		}
		for _, key := range sortedKeys(a.Custom) {
			k.custom(r, a, key, a.Custom[key])
		}
		if _, ok := a.Custom["deadline"]; ok && !r.Hold {
			k.fail(CodeAnnotation, k.customAt(a, "deadline"), "custom.deadline is for rules that are held", "add undecided: hold, or write undecided: deny")
		}
	}
}

func (k *collector) custom(r *lower.Rule, a *ast.Annotations, key string, v any) {
	s, isString := v.(string)
	bad := func(want string) {
		k.fail(CodeAnnotation, k.customAt(a, key), fmt.Sprintf("custom.%s is %v", key, v), "it must be "+want)
	}
	switch key {
	case "id":
		if !isString || s == "" || strings.ContainsAny(s, " \t\n\"") {
			bad("a name without spaces")
			return
		}
		r.Ref.ID = s
	case "severity":
		if !slices.Contains(severities, s) {
			bad("one of " + strings.Join(severities, ", "))
			return
		}
		r.Ref.Severity = s
	case "attack":
		list, ok := v.([]any)
		for _, x := range list {
			id, is := x.(string)
			ok = ok && is
			r.Ref.Attack = append(r.Ref.Attack, id)
		}
		if !ok {
			bad("a list of ATT&CK technique ids, such as [T1105]")
		}
	case "mode":
		if r.Audit = s == "audit"; !r.Audit && s != "enforce" {
			bad("audit or enforce")
		}
	case "response":
		if r.Kill = s == "kill"; !r.Kill && s != "refuse" {
			bad("refuse or kill")
		}
		if r.Kill && r.Verdict == event.VerdictAlert {
			k.fail(CodeAnnotation, k.customAt(a, key), "an alert cannot kill", "make it a deny rule")
		}
	case "hooks":
		k.hooks(r, v, bad)
	case "undecided":
		k.undecided(r, a, s, bad)
	case "deadline":
		switch s {
		case "allow":
			r.Undecided = ir.UndecidedAllow
		case "deny":
			r.Undecided = ir.UndecidedDeny
		default:
			bad("allow or deny: what happens to an exec that is held when the answer does not come in time")
		}
	case "always":
		b, ok := v.(bool)
		if r.Always = b; !ok {
			bad("true or false")
		}
	default:
		if !strings.HasPrefix(key, "x-") {
			k.warn(CodeAnnotation, k.customAt(a, key), fmt.Sprintf("custom.%s is not known and has no effect", key),
				"known: id, severity, attack, mode, response, hooks, undecided, deadline, always; your own begin with x-")
		}
	}
}

// hooks reads the acts that a rule judges.
func (k *collector) hooks(r *lower.Rule, v any, bad func(string)) {
	var names []string
	for _, h := range r.Hook.Hooks() {
		names = append(names, h.String())
	}
	list, ok := v.([]any)
	for _, x := range list {
		s, _ := x.(string)
		h, err := event.ParseHook(s)
		ok = ok && err == nil && h.Package() == r.Hook && !slices.Contains(r.Hooks, h)
		r.Hooks = append(r.Hooks, h)
	}
	if !ok || len(list) == 0 {
		bad("a list of some of " + strings.Join(names, ", "))
	}
}

func (k *collector) undecided(r *lower.Rule, a *ast.Annotations, s string, bad func(string)) {
	switch s {
	case "allow":
		r.Undecided = ir.UndecidedAllow
	case "deny":
		r.Undecided = ir.UndecidedDeny
	case "hold":
		switch {
		case r.Hook != event.HookExec:
			k.fail(CodeAnnotation, k.customAt(a, "undecided"), fmt.Sprintf("%s cannot be held", r.Hook), "only an exec waits for an answer; use undecided: deny or allow")
		case r.Verdict == event.VerdictAlert:
			k.fail(CodeAnnotation, k.customAt(a, "undecided"), "an alert blocks nothing, so nothing needs to wait for it", "make it a deny rule")
		}
		r.Hold = true
	default:
		bad("allow, deny or hold")
	}
}

// customAt finds a key in the lines of an annotation; its beginning if it is
// not found.
func (k *collector) customAt(a *ast.Annotations, key string) *ast.Location {
	want := regexp.MustCompile(`\b` + regexp.QuoteMeta(key) + `\s*:\s*("[^"]*"|\[[^\]]*\]|[^,}]*[^,}\s])?`)
	for row := a.Location.Row; ; row++ {
		line := k.files.line(within(a.Location.File), row)
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			return a.Location
		}
		if at := want.FindStringIndex(line); at != nil {
			l := *a.Location
			l.Row, l.Col, l.Text = row, at[0]+1, []byte(line[at[0]:at[1]])
			return &l
		}
	}
}

package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// ScenarioResult is the outcome of one act of a scenario file.
type ScenarioResult struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Name string `json:"name"`
	Pass bool   `json:"pass"`
	Want string `json:"want"`          // verdict, and the rule if one was named
	Got  string `json:"got"`           // verdict and rule
	Why  string `json:"why,omitempty"` // what is different
}

// scenario is a file that ends in _test.yaml: acts with the verdicts that they
// must have.
type scenario struct {
	Hook  string         `yaml:"hook"`  // of acts that name none
	Input map[string]any `yaml:"input"` // what all acts have, unless they say otherwise
	Acts  []scenarioAct  `yaml:"acts"`
}

type scenarioAct struct {
	Name    string         `yaml:"name"`
	Hook    string         `yaml:"hook"`
	Input   map[string]any `yaml:"input"`   // the input document, as far as it is not zero
	Verdict string         `yaml:"verdict"` // allow, alert or deny
	Rule    string         `yaml:"rule"`    // id of the rule that must decide
	Message string         `yaml:"message"` // must be in the message of that rule
}

// scenarioFile reports whether a file of a bundle holds acts to try.
func scenarioFile(path string) bool {
	return strings.HasSuffix(path, "_test.yaml") || strings.HasSuffix(path, "_test.yml")
}

func (f *files) scenarios(ctx context.Context, p *Policy, r *TestReport, h *hits, run string) error {
	pick, err := regexp.Compile(run)
	if err != nil {
		return fmt.Errorf("read pattern of tests: %w", err)
	}
	var errs Errors
	for _, e := range slices.Concat(f.entries, f.quoted) {
		if !scenarioFile(e.path) {
			continue
		}
		s, lines, err := f.parseScenario(&e)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for i := range s.Acts {
			act := &s.Acts[i]
			if !pick.MatchString(act.Name) {
				continue
			}
			ev, err := s.event(act)
			if err != nil {
				errs = append(errs, f.inScenario(e.path, lines[i], err.Error(), "docs/input.md lists the fields"))
				continue
			}
			res, err2 := p.try(ctx, act, ev, h)
			if err2 != nil {
				return err2
			}
			res.File, res.Line = e.path, lines[i]
			r.Scenarios = append(r.Scenarios, res)
		}
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

func (f *files) inScenario(file string, line int, why, hint string) *Error {
	return &Error{Code: CodeScenario, File: file, Line: line, Col: 0, Why: why, Hint: hint, Source: f.line(file, line)}
}

// parseScenario reads a file and finds the line of each act.
func (f *files) parseScenario(e *entry) (*scenario, []int, *Error) {
	var s scenario
	if err := yaml.NewDecoder(bytes.NewReader(e.data), yaml.Strict()).Decode(&s); err != nil {
		out := f.inScenario(e.path, 0, err.Error(), "a scenario has hook, input and acts; an act has name, hook, input, verdict, rule and message")
		var y yaml.Error
		if errors.As(err, &y) {
			out.Why = y.GetMessage()
			if t := y.GetToken(); t != nil {
				out.Line, out.Col = t.Position.Line, t.Position.Column
				out.Source = f.line(e.path, out.Line)
			}
		}
		return nil, nil, out
	}
	lines := make([]int, len(s.Acts))
	tree, err := parser.ParseBytes(e.data, 0)
	for i := range lines {
		lines[i] = 1
		path, perr := yaml.PathString(fmt.Sprintf("$.acts[%d]", i))
		if err != nil || perr != nil {
			continue
		}
		if n, err := path.FilterFile(tree); err == nil && n.GetToken() != nil {
			lines[i] = n.GetToken().Position.Line
		}
	}
	for i, act := range s.Acts {
		hook := act.Hook
		if hook == "" {
			hook = s.Hook
		}
		_, err := event.ParseHook(hook)
		switch {
		case act.Name == "":
			return nil, nil, f.inScenario(e.path, lines[i], "the act has no name", "say what it is in a few words: name: cat reads the shadow file")
		case hook == "" || err != nil || hook == "none" || hook == "exit":
			return nil, nil, f.inScenario(e.path, lines[i], fmt.Sprintf("the hook is %q", hook), "write hook: exec, open or fork, in the act or for the whole file")
		case act.Verdict != "allow" && act.Verdict != "alert" && act.Verdict != "deny":
			return nil, nil, f.inScenario(e.path, lines[i], fmt.Sprintf("the verdict is %q", act.Verdict), "write verdict: allow, alert or deny")
		case act.Verdict == "allow" && act.Rule+act.Message != "":
			return nil, nil, f.inScenario(e.path, lines[i], "an act that is allowed has no rule and no message", "leave rule and message out, or write another verdict")
		}
		s.Acts[i].Hook = hook
	}
	return &s, lines, nil
}

// event makes the act, with what all acts of the file have.
func (s *scenario) event(act *scenarioAct) (*event.Event, error) {
	h, err := event.ParseHook(act.Hook)
	if err != nil {
		return nil, err
	}
	return EventOf(h, merged(s.Input, act.Input))
}

// merged is a with what b says instead, objects inside of each other too.
func merged(a, b map[string]any) map[string]any {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range b {
		below, isObject := v.(map[string]any)
		if was, wasObject := out[k].(map[string]any); isObject && wasObject && k != "env" {
			v = merged(was, below)
		}
		out[k] = v
	}
	return out
}

// try judges an act as the agent would, by OPA and by the kernel form.
func (p *Policy) try(ctx context.Context, act *scenarioAct, e *event.Event, h *hits) (ScenarioResult, error) {
	res := ScenarioResult{Name: act.Name, Want: strings.TrimSpace(act.Verdict + " " + act.Rule)}
	d, err := p.decide(ctx, e, h)
	if err != nil {
		return res, err
	}
	got := ""
	if d.Rule != nil {
		got = d.Rule.ID
	}
	res.Got = strings.TrimSpace(d.Verdict.String() + " " + got)
	k := p.program.Decide(e.Hook, ir.KeyOf(e))
	switch {
	case d.Verdict.String() != act.Verdict:
		res.Why = "the verdict is " + res.Got
	case act.Rule != "" && act.Rule != got:
		res.Why = "another rule decides: " + got
	case !strings.Contains(d.Message, act.Message):
		res.Why = fmt.Sprintf("the message is %q", d.Message)
	case len(k.Undecided) == 0 && k.Verdict != d.Verdict:
		res.Why = fmt.Sprintf("the kernel's tables would say %s", k.Verdict)
	default:
		res.Pass = true
	}
	return res, nil
}

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/report"
	"example.com/bailiff/policy"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// reportFlags are what report can be told.
type reportFlags struct {
	recording
	bundle     string
	rules      []string
	outcomes   []string
	exceptions bool
	top        int
}

func (a *app) reportCmd() *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "report [EVENTS]",
		Short: "Sum up what the rules said, with exceptions ready to paste",
		Long: `Sum up recorded acts by rule, program and cgroup: what would have been denied,
what was, and alerts; how often, when first and last, and on what. For each it
says which entry of the bundle's data (below data.exceptions) would let it pass;
each was tried by evaluating the rule with it.

` + recordingHelp + `

The exceptions are those of --bundle; without it, of the bundle that the asked
agent has, else of the embedded rules.`,
		Example: `  bailiff report                                  # what the running agent has kept
  bailiff report --since 24h --outcome would-deny
  bailiff report /var/lib/bailiff/spool --cgroup /system.slice/backup.service
  bailiff events --replay -o json | bailiff report - -o yaml
  bailiff report --bundle ./rules --exceptions > new.json && mv new.json ./rules/exceptions/data.json`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: map[string]string{"yaml": "true"},
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.prepare(args); err != nil {
				return err
			}
			return a.report(c.Context(), &f)
		},
	}
	f.flags(c)
	c.Flags().StringVar(&f.bundle, "bundle", "", "directory or tar.gz file whose exceptions are proposed")
	c.Flags().StringSliceVar(&f.rules, "rule", nil, "only these rules, by id")
	c.Flags().StringSliceVar(&f.outcomes, "outcome", nil, "only would-deny, deny, alert")
	c.Flags().IntVar(&f.top, "top", 10, "programs to show for each rule in text (0: all)")
	c.Flags().BoolVar(&f.exceptions, "exceptions", false, "write only the bundle's data.exceptions with the proposals added (JSON)")
	_ = c.RegisterFlagCompletionFunc("outcome", fixed("would-deny", "deny", "alert"))
	return c
}

// reported is the answer of report in JSON and YAML.
type reported struct {
	Recording *summary       `json:"recording"`
	Bundle    string         `json:"bundle"`   // whose exceptions are proposed
	Revision  string         `json:"revision"` // of that bundle
	Rules     []reportedRule `json:"rules"`
	// Exceptions are the proposals put together, in the form of data.exceptions.
	Exceptions map[string]any `json:"exceptions"`
	NotShown   uint64         `json:"not_shown,omitempty"` // acts beyond the bound on groups
}

type reportedRule struct {
	*report.Rule
	Groups []reportedGroup `json:"groups"`
}

type reportedGroup struct {
	*report.Group
	Proposals []proposal `json:"exceptions"`
}

// proposal is an entry that lets acts of a group pass.
type proposal struct {
	policy.Exception
	Silences uint64 `json:"silences"` // acts of the group that it was seen to let pass
}

func (a *app) report(ctx context.Context, f *reportFlags) error {
	for _, o := range f.outcomes {
		if !slices.Contains([]report.Outcome{report.Denied, report.WouldDeny, report.Alerted}, report.Outcome(o)) {
			return usageError{fmt.Errorf("--outcome %q is not one of would-deny, deny, alert", o)}
		}
	}
	src := source(f.bundle)
	if f.bundle == "" && f.from == "" {
		src = a.bundleOfAgent(ctx)
	}
	p, _, err := src.load(ctx)
	if err != nil {
		return err
	}
	defer p.Close(context.WithoutCancel(ctx))
	var r report.Report
	s, err := a.read(ctx, &f.recording, func(e *event.Event) error {
		if o := report.OutcomeOf(&e.Decision); o == "" || len(f.outcomes) > 0 && !slices.Contains(f.outcomes, string(o)) {
			return nil
		}
		if len(f.rules) == 0 || slices.Contains(f.rules, e.Decision.Rule.ID) {
			r.Add(e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	out := reported{Recording: s, Bundle: src.String(), Revision: p.Revision(), Rules: []reportedRule{}, NotShown: r.Beyond}
	var chosen []policy.Exception
	for _, rule := range r.Rules() {
		rr := reportedRule{Rule: rule}
		for _, g := range rule.Groups {
			ps, err := propose(ctx, p, g)
			if err != nil {
				return err
			}
			rr.Groups = append(rr.Groups, reportedGroup{g, ps})
			chosen = append(chosen, choose(ps, g.Count)...)
		}
		out.Rules = append(out.Rules, rr)
	}
	return a.printReport(ctx, f, p, &out, chosen)
}

func (a *app) printReport(ctx context.Context, f *reportFlags, p *policy.Policy, out *reported, chosen []policy.Exception) error {
	if f.exceptions {
		doc, err := p.ExceptionsDocument(chosen)
		if err != nil {
			return err
		}
		if doc == nil {
			return &userError{Code: "no-exceptions", Why: out.Bundle + " has no data.exceptions to add to",
				Hint: "let its rules read lists below data.exceptions, as the embedded rules do (docs/rules.md)"}
		}
		return a.printJSON(doc)
	}
	out.Exceptions = entries(chosen)
	if a.output != "text" {
		return a.printValue(out)
	}
	return a.reportText(out, f.top)
}

// bundleOfAgent is the bundle that the running agent says it has, if it is one
// that can be read here.
func (a *app) bundleOfAgent(ctx context.Context) source {
	conn, err := a.dial()
	if err != nil {
		return ""
	}
	defer conn.Close()
	s, err := bailiffv1.NewAgentServiceClient(conn).Status(ctx, &bailiffv1.StatusRequest{})
	if err != nil || s.GetPolicySource() == embedded {
		return ""
	}
	if _, _, err := source(s.GetPolicySource()).load(ctx); err != nil {
		return ""
	}
	return source(s.GetPolicySource())
}

// propose finds what would let the acts of a group pass. A group is one
// program, so an entry for the program covers all of it; one for an object
// covers the acts on that object.
func propose(ctx context.Context, p *policy.Policy, g *report.Group) ([]proposal, error) {
	var out []proposal
	for _, o := range g.Objects {
		found, err := p.Exceptions(ctx, g.Rule, o.Sample)
		if err != nil {
			return nil, err
		}
		for _, x := range found {
			if slices.ContainsFunc(out, func(q proposal) bool { return q.Exception.Data == x.Data && q.Value == x.Value }) {
				continue
			}
			n := uint64(0)
			for _, other := range g.Objects {
				ok, err := p.Silenced(ctx, g.Rule, other.Sample, x)
				if err != nil {
					return nil, err
				}
				if ok {
					n += other.Count
				}
			}
			out = append(out, proposal{x, n})
		}
		if len(out) >= 8 {
			break // enough to choose from
		}
	}
	slices.SortStableFunc(out, func(a, b proposal) int {
		if broad(a) != broad(b) {
			if broad(a) {
				return 1
			}
			return -1
		}
		return int(b.Silences) - int(a.Silences)
	})
	return out, nil
}

// interpreters run whatever they are told to: an entry for one of them lets
// everything pass that anybody writes as a script.
var interpreters = []string{"sh", "bash", "dash", "ash", "zsh", "ksh", "fish", "busybox", "env", "sudo", "su", "perl", "ruby",
	"node", "php", "lua", "awk", "find", "xargs", "systemd", "setpriv", "nsenter", "unshare", "chroot", "timeout", "nohup"}

// broad: the entry names a program that can be made to do anything.
func broad(q proposal) bool {
	s, _ := q.Value.(string)
	name := s[strings.LastIndexByte(s, '/')+1:]
	return strings.HasPrefix(q.Field, "process.") && (slices.Contains(interpreters, name) || strings.HasPrefix(name, "python"))
}

// choose takes proposals until the whole group passes.
func choose(ps []proposal, count uint64) []policy.Exception {
	var out []policy.Exception
	n := uint64(0)
	for _, q := range ps {
		if n >= count || broad(q) && len(out) > 0 {
			break
		}
		out = append(out, q.Exception)
		n += q.Silences
	}
	return out
}

// entries puts chosen exceptions into the shape of data.exceptions.
func entries(list []policy.Exception) map[string]any {
	out := map[string]any{}
	for _, x := range list {
		at := out
		keys := strings.Split(x.Data, ".")[1:]
		for _, k := range keys[:len(keys)-1] {
			next, ok := at[k].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[k] = next
			}
			at = next
		}
		last := keys[len(keys)-1]
		have, _ := at[last].([]any)
		if !slices.Contains(have, x.Value) {
			at[last] = append(have, x.Value)
		}
	}
	return out
}

func (a *app) reportText(out *reported, top int) error {
	var b strings.Builder
	paint := a.paint()
	fmt.Fprintln(&b, out.Recording.line())
	if _, same := out.Recording.Revisions[out.Revision]; !same && out.Recording.Events > 0 {
		fmt.Fprintf(&b, "exceptions are those of %s, revision %s, which did not judge these acts\n", visible(out.Bundle), word(out.Revision))
	}
	for _, r := range out.Rules {
		colour := map[report.Outcome]string{report.WouldDeny: yellow, report.Denied: red, report.Alerted: magenta}[r.Outcome]
		fmt.Fprintf(&b, "\n%s  %s  %s  %s\n    %s, %s\n", paint.as(colour, string(r.Outcome)), paint.as(bold, word(r.Ref.ID)), r.Ref.Severity,
			visible(r.Ref.Title), times(r.Count), period(r.First, r.Last))
		for i, g := range r.Groups {
			if top > 0 && i == top {
				fmt.Fprintf(&b, "  %d more programs (--top 0 shows all)\n", len(r.Groups)-i)
				break
			}
			fmt.Fprintf(&b, "  %7d  %s  in %s, last %s\n", g.Count, word(g.Exe), word(g.Cgroup), g.Last.Local().Format(time.DateTime))
			if s := objects(g.Group); s != "" {
				fmt.Fprintf(&b, "           on %s\n", s)
			}
			for _, q := range g.Proposals {
				fmt.Fprintf(&b, "           except %s += %s  (lets %d of %d pass)%s\n", q.Data, valueText(q.Value), q.Silences, g.Count, warnBroad(q))
			}
			if len(g.Proposals) == 0 {
				fmt.Fprintf(&b, "           no entry of data.exceptions lets it pass\n")
			}
		}
	}
	if len(out.Exceptions) > 0 {
		doc, err := jsonIndent(out.Exceptions)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\nTo let all of this pass, add to data.exceptions (--exceptions writes the whole document):\n%s", doc)
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

func warnBroad(q proposal) string {
	if broad(q) {
		return "  (wide: it runs anything)"
	}
	return ""
}

func valueText(v any) string {
	if s, ok := v.(string); ok {
		b, err := jsonLine(s)
		if err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	return fmt.Sprint(v)
}

func objects(g *report.Group) string {
	var parts []string
	rest := g.More
	for i, o := range g.Objects {
		switch {
		case o.Path == "":
		case i < 3:
			parts = append(parts, fmt.Sprintf("%s (%d)", word(o.Path), o.Count))
		default:
			rest += o.Count
		}
	}
	if rest > 0 {
		parts = append(parts, fmt.Sprintf("others (%d)", rest))
	}
	return strings.Join(parts, ", ")
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func period(first, last time.Time) string {
	if first.Equal(last) {
		return first.Local().Format(time.DateTime)
	}
	return first.Local().Format(time.DateTime) + " to " + last.Local().Format(time.DateTime)
}

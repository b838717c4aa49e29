package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/report"
	"example.com/bailiff/policy"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
	"example.com/bailiff/rules"
)

// reportFlags are what report can be told.
type reportFlags struct {
	recording
	bundle     string
	packs      []string
	rules      []string
	outcomes   []string
	exceptions string // "": none; bundleItself, or the name of a pack
	top        int
}

// bundleItself is what --exceptions means without a value.
const bundleItself = "bundle"

func (a *app) reportCmd() *cobra.Command {
	var f reportFlags
	c := &cobra.Command{
		Use:   "report [EVENTS]",
		Short: "Sum up what the rules said, with exceptions ready to paste",
		Long: `Sum up recorded acts by rule, program and cgroup: what would have been denied,
what was, and alerts; how often, when first and last, and on what. For each it
says which entry of the bundle's data (below data.exceptions) or of a pack's
would let it pass; each was tried by evaluating the rule with it.

` + recordingHelp + `

The exceptions are those of --bundle; without it, of the bundle that the asked
agent has, else of the embedded rules; and of each --pack.`,
		Example: `  bailiff report                                  # what the running agent has kept
  bailiff report --since 24h --outcome would-deny
  bailiff report /var/lib/bailiff/spool --cgroup /system.slice/backup.service
  bailiff events --replay -o json | bailiff report - -o yaml
  bailiff report --bundle ./rules --exceptions > new.json && mv new.json ./rules/exceptions/data.json
  bailiff report --pack miners=miners.json --exceptions=miners > new.json && mv new.json miners.json`,
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
	packsFlag(c.Flags(), &f.packs)
	c.Flags().StringSliceVar(&f.rules, "rule", nil, "only these rules, by id")
	c.Flags().StringSliceVar(&f.outcomes, "outcome", nil, "only would-deny, deny, alert")
	c.Flags().IntVar(&f.top, "top", 10, "programs to show for each rule in text (0: all)")
	c.Flags().StringVar(&f.exceptions, "exceptions", "", "write only the bundle's data.exceptions with the proposals added (JSON); with =`PACK` the data of that pack, for --pack PACK=FILE")
	c.Flags().Lookup("exceptions").NoOptDefVal = bundleItself
	_ = c.RegisterFlagCompletionFunc("outcome", fixed("would-deny", "deny", "alert"))
	return c
}

// reported is the answer of report in JSON and YAML.
type reported struct {
	Recording *summary       `json:"recording"`
	Bundle    string         `json:"bundle"`   // whose exceptions are proposed
	Revision  string         `json:"revision"` // of that bundle
	Rules     []reportedRule `json:"rules"`
	// Exceptions are the proposals put together, in the form of data.exceptions;
	// Packs those for packs by name, in the form of data.packs.
	Exceptions map[string]any            `json:"exceptions"`
	Packs      map[string]map[string]any `json:"packs,omitempty"`
	NotShown   uint64                    `json:"not_shown,omitempty"` // acts beyond the bound on groups
}

type reportedRule struct {
	*report.Rule
	Groups []reportedGroup `json:"groups"`
}

type reportedGroup struct {
	*report.Group
	Proposals []proposal `json:"exceptions"`
	// Foreign says that the bundle and its packs have no such rule, so that
	// nothing could be tried; a pack that has it, or "elsewhere".
	Foreign string `json:"rule_is_of,omitempty"`
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
	packs, err := findPacks(f.packs)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(packs, func(p policy.Pack) bool { return p.Name == f.exceptions })
	if f.exceptions != "" && f.exceptions != bundleItself && at < 0 {
		return usageError{fmt.Errorf("--exceptions=%s: no --pack names it; --exceptions alone means the bundle's own", f.exceptions)}
	}
	src := source(f.bundle)
	if f.bundle == "" && f.from == "" {
		src = a.bundleOfAgent(ctx)
	}
	p, _, err := src.load(ctx, packs...)
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
		rr, foreign := reportedRule{Rule: rule}, ""
		if !p.Has(rule.Hook, rule.Ref.ID) {
			foreign = packWith(ctx, rule.Ref.ID)
		}
		for _, g := range rule.Groups {
			ps, err := propose(ctx, p, g)
			if err != nil {
				return err
			}
			rr.Groups = append(rr.Groups, reportedGroup{g, ps, foreign})
			chosen = append(chosen, choose(ps, g.Count)...)
		}
		out.Rules = append(out.Rules, rr)
	}
	switch {
	case at >= 0:
		doc, err := p.PackDocument(packs[at], chosen)
		if err != nil {
			return err
		}
		return a.printJSON(doc)
	case f.exceptions != "":
		return a.exceptionsOf(p, &out, chosen)
	}
	out.entries(chosen)
	if a.output != "text" {
		return a.printValue(out)
	}
	return a.reportText(&out, f.top)
}

// exceptionsOf writes the bundle's own exceptions, with more.
func (a *app) exceptionsOf(p *policy.Policy, out *reported, add []policy.Exception) error {
	doc, err := p.ExceptionsDocument(add)
	if err != nil {
		return err
	}
	if doc == nil {
		return &userError{Code: "no-exceptions", Why: out.Bundle + " has no data.exceptions to add to",
			Hint: "let its rules read lists below data.exceptions, as the embedded rules do (docs/rules.md)"}
	}
	return a.printJSON(doc)
}

// packWith is the pack that has a rule, or "elsewhere".
func packWith(ctx context.Context, rule string) string {
	for _, name := range rules.Packs() {
		fsys, err := rules.Pack(name)
		if err != nil {
			continue
		}
		listed, _, err := policy.Pack{Name: name, FS: fsys}.List(ctx)
		if err == nil && slices.ContainsFunc(listed, func(e policy.ExplainedRule) bool { return e.Rule.ID == rule }) {
			return name
		}
	}
	return "elsewhere"
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

// entries puts chosen exceptions into the shape of the data.
func (out *reported) entries(list []policy.Exception) {
	out.Exceptions = map[string]any{}
	for _, x := range list {
		below, pack := out.Exceptions, x.PackOf()
		if pack != "" {
			if out.Packs == nil {
				out.Packs = map[string]map[string]any{}
			}
			if out.Packs[pack] == nil {
				out.Packs[pack] = map[string]any{"exceptions": map[string]any{}}
			}
			below = out.Packs[pack]["exceptions"].(map[string]any)
		}
		x.Below(below)
	}
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
			switch {
			case g.Foreign == "elsewhere":
				fmt.Fprintf(&b, "           no exceptions: there is no such rule in %s (--bundle names another)\n", visible(out.Bundle))
			case g.Foreign != "":
				fmt.Fprintf(&b, "           no exceptions yet: the rule is of a pack (--pack %s)\n", g.Foreign)
			case len(g.Proposals) == 0:
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
	for _, name := range slices.Sorted(maps.Keys(out.Packs)) {
		doc, err := jsonIndent(out.Packs[name])
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "\nTo let it pass the pack %s, add to its data (--pack %[1]s=FILE; --exceptions=%[1]s writes the whole file):\n%[2]s", name, doc)
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

package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/server"
	bailiffv1 "example.com/bailiff/proto/bailiff/v1"
)

// modeAnswer is the JSON answer of mode.
type modeAnswer struct {
	Mode      string            `json:"mode"`     // audit, enforce or default
	Previous  string            `json:"previous"` // the same
	Text      string            `json:"text"`
	Probation *server.Probation `json:"probation,omitempty"`
}

func (a *app) modeCmd() *cobra.Command {
	r := &bailiffv1.SetModeRequest{}
	var share string
	var confirm time.Duration
	c := &cobra.Command{
		Use:   "mode [audit|enforce|default]",
		Short: "Show or change where deny verdicts block",
		Long: `Without an argument, show the modes. With one, change a mode, at once: audit
(deny verdicts are recorded as would-deny) or enforce (they block).

Which mode holds for an act: the modes of the rule and of the cgroup (the deepest
one that has a mode) go before the mode for all; where both are set, audit wins.
A rule's annotation "mode: audit" counts as its mode until you set another.
default takes the mode of a rule or a cgroup away again.

Each change is in the event stream. It ends with the agent unless you add
--persist; with --confirm it goes back by itself unless you confirm it.`,
		Example: `  bailiff mode enforce --rule exec-memory-backed --persist
  bailiff mode enforce --cgroup nginx.service
  bailiff mode enforce --share 10%
  bailiff mode enforce --confirm 5m      # then: bailiff confirm
  bailiff mode default --rule exec-memory-backed`,
		ValidArgs: []string{"audit", "enforce", "default"},
		Args:      cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				if c.Flags().NFlag() > countChanged(c, "output", "socket", "no-color") {
					return usageError{errors.New("say which mode: audit, enforce or default")}
				}
				return a.showModes(c)
			}
			if countChanged(c, "rule", "cgroup", "share") > 1 {
				return usageError{errors.New("--rule, --cgroup and --share are exclusive")}
			}
			if err := modeRequest(r, args[0], share, confirm); err != nil {
				return usageError{err}
			}
			return a.setMode(c, r)
		},
	}
	f := c.Flags()
	f.StringVar(&r.Rule, "rule", "", "only for the deny rule with this id")
	f.StringVar(&r.Cgroup, "cgroup", "", "only in this cgroup and below: path below the cgroup2 mount (it need not exist yet), or a name that only one has")
	f.StringVar(&share, "share", "", "enforce in this share of the cgroups, such as 10%; a hash of the path decides which")
	f.BoolVar(&r.Persist, "persist", false, "keep it over restarts of the agent")
	f.DurationVar(&confirm, "confirm", 0, "go back after this time unless \"bailiff confirm\" comes")
	f.BoolVar(&r.Force, "force", false, "even if it would lock out init, the agent, the package manager or root's login")
	_ = c.RegisterFlagCompletionFunc("rule", a.completeRules)
	return c
}

func countChanged(c *cobra.Command, names ...string) int {
	n := 0
	for _, name := range names {
		if c.Flags().Changed(name) {
			n++
		}
	}
	return n
}

// modeRequest fills in what flags cannot.
func modeRequest(r *bailiffv1.SetModeRequest, mode, share string, confirm time.Duration) error {
	if r.Unset = mode == "default"; r.Unset {
		if r.Rule == "" && r.Cgroup == "" {
			return errors.New("mode default: say of what, with --rule or --cgroup")
		}
	} else {
		m, err := event.ParseMode(mode)
		if err != nil {
			return fmt.Errorf("mode %q is not one of audit, enforce, default", mode)
		}
		r.Mode = server.EncodeMode(m)
	}
	if share != "" {
		if mode != "enforce" {
			return errors.New("--share goes with enforce: the other cgroups audit")
		}
		n, err := parseShare(share)
		if err != nil {
			return err
		}
		r.Share = n
	}
	if confirm < 0 || confirm > 0 && confirm < time.Second {
		return fmt.Errorf("--confirm %v is less than a second", confirm)
	}
	if confirm > 0 {
		r.Confirm = durationpb.New(confirm)
	}
	return nil
}

// parseShare reads "10%" or "0.5%" as parts of event.ShareAll, at least one.
func parseShare(s string) (uint32, error) {
	n, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	if err != nil || !strings.HasSuffix(s, "%") || !(n > 0 && n <= 100) {
		return 0, fmt.Errorf("--share %q is not a percentage above 0%% and up to 100%%", s)
	}
	return max(1, uint32(math.Round(n*event.ShareAll/100))), nil
}

func (a *app) setMode(c *cobra.Command, req *bailiffv1.SetModeRequest) error {
	conn, err := a.dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	r, err := bailiffv1.NewAgentServiceClient(conn).SetMode(c.Context(), req)
	if err != nil {
		return a.callError(err)
	}
	probation := server.DecodeProbation(r.GetProbation())
	if req.Confirm == nil {
		probation = nil // another change's
	}
	if a.output == "json" {
		return a.printJSON(modeAnswer{modeName(r.GetMode()), modeName(r.GetPrevious()), r.GetText(), probation})
	}
	_, err = fmt.Fprintf(a.out, "%s\n%s", visible(r.GetText()), probationText(probation))
	return err
}

func modeName(m bailiffv1.Mode) string {
	if m == bailiffv1.Mode_MODE_UNSPECIFIED {
		return "default"
	}
	return server.DecodeMode(m).String()
}

func probationText(p *server.Probation) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf("it goes back at %s unless confirmed: bailiff confirm\n", p.Until.Local().Format(time.TimeOnly))
}

// showModes prints where deny verdicts block.
func (a *app) showModes(c *cobra.Command) error {
	s, err := a.askStatus(c)
	if err != nil {
		return err
	}
	if a.output == "json" {
		return a.printJSON(map[string]any{"modes": s.Modes, "kept_modes": s.Kept, "probation": s.Probation})
	}
	_, err = fmt.Fprint(a.out, modeLines(s, a.paint()))
	return err
}

// modeLines is the mode for all and each mode of a rule or a cgroup.
func modeLines(s *server.Status, p paint) string {
	var b strings.Builder
	kept := func(name string) string {
		if slices.Contains(s.Kept, name) {
			return ", kept over restarts"
		}
		return ""
	}
	show := func(m event.Mode) string {
		if m == event.ModeEnforce {
			return p.as(green, "enforce")
		}
		return p.as(yellow, "audit")
	}
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%s  %s\n", p.as(bold, fmt.Sprintf("%-10s", name)), fmt.Sprintf(format, args...))
	}
	all := show(event.ModeAudit) + " (deny verdicts are recorded, nothing is blocked)"
	switch {
	case s.Mode == event.ModeEnforce && s.Modes.Word() != event.ShareAll:
		all = show(s.Mode) + " in " + event.ShareText(s.Modes.Share) + " of the cgroups, audit in the others"
	case s.Mode == event.ModeEnforce:
		all = show(s.Mode)
	case len(s.Modes.Rules)+len(s.Modes.Cgroups) > 0:
		all = show(s.Mode) + " (deny verdicts are recorded), but:"
	}
	row("mode", "%s%s", all, kept("all"))
	for _, id := range slices.Sorted(maps.Keys(s.Modes.Rules)) {
		row("", "%s for rule %s%s", show(s.Modes.Rules[id]), word(id), kept("rule "+id))
	}
	for _, path := range slices.Sorted(maps.Keys(s.Modes.Cgroups)) {
		row("", "%s in cgroup %s and below%s", show(s.Modes.Cgroups[path]), word(path), kept("cgroup "+path))
	}
	if t := s.Probation; t != nil {
		row("probation", "%s (by %s) until %s: bailiff confirm, or bailiff confirm --revert",
			p.as(yellow, visible(t.Text)), visible(t.By), t.Until.Local().Format(time.TimeOnly))
	}
	return b.String()
}

// askStatus asks the agent how it is.
func (a *app) askStatus(c *cobra.Command) (*server.Status, error) {
	conn, err := a.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r, err := bailiffv1.NewAgentServiceClient(conn).Status(c.Context(), &bailiffv1.StatusRequest{})
	if err != nil {
		return nil, a.callError(err)
	}
	s := server.DecodeStatus(r)
	return &s, nil
}

// completeRules offers the deny rules in force.
func (a *app) completeRules(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	conn, err := a.dial()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer conn.Close()
	r, err := bailiffv1.NewAgentServiceClient(conn).Policy(c.Context(), &bailiffv1.PolicyRequest{})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	for _, rule := range r.GetRules() {
		if rule.GetVerdict() == bailiffv1.Verdict_VERDICT_DENY {
			ids = append(ids, rule.GetRef().GetId())
		}
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"example.com/bailiff/policy"
	"example.com/bailiff/rules"
)

// testFlags are what test can be told.
type testFlags struct {
	run        string
	coverage   bool
	all        bool
	minPercent float64
	each       bool
	packs      []string
}

func (a *app) testCmd() *cobra.Command {
	var f testFlags
	c := &cobra.Command{
		Use:   "test [BUNDLE]",
		Short: "Run the tests of a bundle, and say what they reach",
		Long: `Run the tests of a bundle (a directory or a tar.gz file; the embedded rules if
none is given): Rego tests in files that end in _test.rego, as "opa test" runs
them, and scenarios in files that end in _test.yaml: acts with the verdicts that
they must have, judged by OPA and by the form that the kernel gets.

  hook: open
  input: {process: {uid: 1000}}       # what all acts of the file have
  acts:
    - name: cat reads the shadow file
      input: {process: {exe: {path: /usr/bin/cat}}, file: {path: /etc/shadow}}
      verdict: deny                   # allow, alert or deny
      rule: shadow-read               # optional: who must decide

What an act does not say is zero; docs/input.md lists the fields. With --pack
the rules of packs are added, and their tests, which run with the data that they
have then.

Exit code 1: a test fails, or less is reached than --coverage-min or
--require-covered ask for. It needs neither root nor an agent.`,
		Example: `  bailiff test ./rules
  bailiff test ./rules --coverage --require-covered
  bailiff test ./rules --run shadow -o json
  bailiff test ./rules --pack miners=miners.json`,
		Args:        cobra.MaximumNArgs(1),
		Annotations: map[string]string{"yaml": "true"},
		RunE:        func(c *cobra.Command, args []string) error { return a.test(c.Context(), args, &f) },
	}
	packsFlag(c.Flags(), &f.packs)
	c.Flags().StringVar(&f.run, "run", "", "only tests and acts whose name matches this regular expression")
	c.Flags().BoolVar(&f.coverage, "coverage", false, "also show what no test reaches: lines, rules, clauses of the kernel's form")
	c.Flags().BoolVarP(&f.all, "verbose", "v", false, "also show what passed")
	c.Flags().Float64Var(&f.minPercent, "coverage-min", 0, "fail if fewer percent of the lines are reached")
	c.Flags().BoolVar(&f.each, "require-covered", false, "fail if a rule, or a clause of one, never fires in a test")
	return c
}

func (a *app) test(ctx context.Context, args []string, f *testFlags) error {
	packs, err := findPacks(f.packs)
	if err != nil {
		return err
	}
	var r *policy.TestReport
	o := policy.TestOptions{Options: policy.Options{Packs: packs}, Run: f.run}
	if src := sourceArg(args); src == "" {
		r, err = policy.TestFS(ctx, rules.FS, o)
	} else {
		r, err = policy.Test(ctx, string(src), o)
	}
	if err != nil {
		return err
	}
	missed := 0
	for _, c := range r.Coverage.Rules {
		missed += c.Missed()
	}
	failed := r.Failed()
	if a.output == "text" {
		err = a.testText(r, f)
	} else {
		err = a.printValue(tested{OK: failed == 0, TestReport: r})
	}
	switch {
	case err != nil:
		return err
	case failed > 0:
		return quietError{errors.New("tests fail")}
	case r.Coverage.Percent < f.minPercent:
		return &userError{Code: "coverage", Why: fmt.Sprintf("the tests reach %.1f %% of the lines, less than %.1f %%", r.Coverage.Percent, f.minPercent),
			Hint: "bailiff test --coverage shows what they do not reach"}
	case f.each && missed > 0:
		return &userError{Code: "coverage", Why: fmt.Sprintf("%d clauses never fire in a test", missed), Hint: "bailiff test --coverage shows them"}
	}
	return nil
}

// tested is the answer of test in JSON and YAML.
type tested struct {
	OK bool `json:"ok"`
	*policy.TestReport
}

func (a *app) testText(r *policy.TestReport, f *testFlags) error {
	var b strings.Builder
	paint := a.paint()
	skipped := 0
	for _, t := range r.Tests {
		switch {
		case t.Skip:
			skipped++
			fmt.Fprintf(&b, "%s  %s:%d  %s\n", paint.as(yellow, "skip"), word(t.File), t.Line, word(t.Package+"."+t.Name))
		case !t.Pass:
			fmt.Fprintf(&b, "%s  %s:%d  %s", paint.as(red, "FAIL"), word(t.File), t.Line, word(t.Package+"."+t.Name))
			if t.Error != "" {
				fmt.Fprintf(&b, ": %s", visible(t.Error))
			}
			fmt.Fprintln(&b)
			for line := range strings.Lines(t.Output) {
				fmt.Fprintf(&b, "        %s\n", visible(strings.TrimSuffix(line, "\n")))
			}
		case f.all:
			fmt.Fprintf(&b, "%s  %s:%d  %s\n", paint.as(green, "pass"), word(t.File), t.Line, word(t.Package+"."+t.Name))
		}
	}
	for _, s := range r.Scenarios {
		switch {
		case !s.Pass:
			fmt.Fprintf(&b, "%s  %s:%d  %s\n        want %s: %s\n", paint.as(red, "FAIL"), word(s.File), s.Line, visible(s.Name), visible(s.Want), visible(s.Why))
		case f.all:
			fmt.Fprintf(&b, "%s  %s:%d  %s: %s\n", paint.as(green, "pass"), word(s.File), s.Line, visible(s.Name), visible(s.Got))
		}
	}
	if f.coverage {
		coverageText(&b, &r.Coverage)
	}
	clauses, hit, never := 0, 0, 0
	for _, c := range r.Coverage.Rules {
		clauses += len(c.Clauses)
		hit += len(c.Clauses) - min(c.Missed(), len(c.Clauses))
		if c.Fired == 0 {
			never++
		}
	}
	verdict := paint.as(green, "ok")
	if n := r.Failed(); n > 0 {
		verdict = paint.as(red, fmt.Sprintf("%d failed", n))
	}
	fmt.Fprintf(&b, "%s: %d tests, %d acts", verdict, len(r.Tests), len(r.Scenarios))
	if skipped > 0 {
		fmt.Fprintf(&b, ", %d skipped", skipped)
	}
	fmt.Fprintf(&b, "; reached: %.1f %% of the lines, %d of %d rules, %d of %d clauses\n",
		r.Coverage.Percent, len(r.Coverage.Rules)-never, len(r.Coverage.Rules), hit, clauses)
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

func coverageText(b *strings.Builder, c *policy.Coverage) {
	for _, f := range c.Files {
		if len(f.Missed) == 0 {
			continue
		}
		var lines []string
		for _, m := range f.Missed {
			s := fmt.Sprint(m.From)
			if m.To > m.From {
				s = fmt.Sprintf("%d-%d", m.From, m.To)
			}
			if len(lines) == 0 || lines[len(lines)-1] != s {
				lines = append(lines, s)
			}
		}
		fmt.Fprintf(b, "%s: %.1f %%, not reached: %s\n", word(f.File), f.Percent, strings.Join(lines, ", "))
	}
	for _, r := range c.Rules {
		if r.Missed() == 0 {
			continue
		}
		if r.Fired == 0 {
			fmt.Fprintf(b, "%s:%d: %s never fires in a test\n", word(r.File), r.Line, word(r.Rule))
			continue
		}
		fmt.Fprintf(b, "%s:%d: %s fires, but never by\n", word(r.File), r.Line, word(r.Rule))
		for _, x := range r.Clauses {
			if x.Fired == 0 {
				fmt.Fprintf(b, "    %s\n", visible(x.Clause))
			}
		}
	}
}

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"example.com/bailiff/policy"
	sources "example.com/bailiff/policy/source"
)

// OPA's compiler cannot be interrupted, and a bundle can be made on which it
// recurses or multiplies without end. So the agent first lets a child of its
// own load the bundle, under limits of memory and time: what kills the child
// does not kill the agent. What the child has done, the agent can do.

// tried is what the child says: lines of JSON on its standard output.
type tried struct {
	Step   string        `json:"step,omitempty"` // what it is about to do
	Done   bool          `json:"done,omitempty"`
	Errors policy.Errors `json:"errors,omitempty"`
	Other  string        `json:"other,omitempty"` // an error that is no policy.Error
}

// tryCmd is the child. It is for the agent, not for people.
func (a *app) tryCmd() *cobra.Command {
	var limits policy.Limits
	var memory int64
	var cpu time.Duration
	c := &cobra.Command{
		Use: "try-bundle", Hidden: true, Args: cobra.NoArgs,
		Short: "Load a bundle from standard input, under limits (for the agent itself)",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := confine(memory, cpu); err != nil {
				return err
			}
			say := func(t tried) error { return json.NewEncoder(a.out).Encode(t) }
			if err := say(tried{Step: "read"}); err != nil {
				return err
			}
			err := tryBundle(c.Context(), os.Stdin, policy.Options{Limits: limits}, say)
			out := tried{Done: true}
			if err != nil && !errors.As(err, &out.Errors) {
				out.Other = err.Error()
			}
			return say(out)
		},
	}
	f := c.Flags()
	f.Int64Var(&memory, "memory", 1<<30, "bytes")
	f.DurationVar(&cpu, "cpu", time.Minute, "processor time")
	f.Int64Var(&limits.ArchiveBytes, "archive-bytes", 0, "")
	f.Int64Var(&limits.TotalBytes, "total-bytes", 0, "")
	f.Int64Var(&limits.FileBytes, "file-bytes", 0, "")
	f.Int64Var(&limits.RegoBytes, "rego-bytes", 0, "")
	f.IntVar(&limits.Entries, "entries", 0, "")
	f.IntVar(&limits.Nesting, "nesting", 0, "")
	f.IntVar(&limits.Digits, "digits", 0, "")
	f.IntVar(&limits.Rules, "rules", 0, "")
	return c
}

func limitArgs(l policy.Limits) []string {
	i := func(name string, n int64) string { return "--" + name + "=" + strconv.FormatInt(n, 10) }
	return []string{i("archive-bytes", l.ArchiveBytes), i("total-bytes", l.TotalBytes), i("file-bytes", l.FileBytes), i("rego-bytes", l.RegoBytes),
		i("entries", int64(l.Entries)), i("nesting", int64(l.Nesting)), i("digits", int64(l.Digits)), i("rules", int64(l.Rules))}
}

// confine limits this process, for good.
func confine(memory int64, cpu time.Duration) error {
	debug.SetMaxStack(64 << 20)
	debug.SetMemoryLimit(memory / 4 * 3)
	seconds := uint64(cpu/time.Second) + 1
	for _, l := range []struct {
		what int
		to   uint64
	}{{unix.RLIMIT_DATA, uint64(memory)}, {unix.RLIMIT_CPU, seconds}, {unix.RLIMIT_CORE, 0}} {
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.to, Max: l.to}); err != nil {
			return fmt.Errorf("limit process: %w", err)
		}
	}
	return nil
}

func tryBundle(ctx context.Context, r io.Reader, o policy.Options, say func(tried) error) error {
	var archives [][]byte
	for tr := tar.NewReader(r); ; {
		_, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read archives: %w", err)
		}
		raw, err := io.ReadAll(tr)
		if err != nil {
			return fmt.Errorf("read archives: %w", err)
		}
		archives = append(archives, raw)
	}
	a, err := sources.Join(archives, o)
	if err != nil {
		return err
	}
	if err := say(tried{Step: "compile and lower"}); err != nil {
		return err
	}
	_, _, err = a.Compile(ctx)
	return err
}

// trier starts the child.
type trier struct {
	limits policy.Limits
	memory int64 // bytes
	log    hclog.Logger
}

// try implements sources.Options.Try.
func (t *trier) try(ctx context.Context, archives [][]byte) (bool, error) {
	left := time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"try-bundle",
		"--memory=" + strconv.FormatInt(t.memory, 10), "--cpu=" + (2 * left).String()}, limitArgs(t.limits)...)...)
	cmd.Args[0] = "bailiff" // not its path: what is said about it, and what a test binary goes by
	cmd.Env = []string{}
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	in, err := packArchives(archives)
	if err != nil {
		return false, err
	}
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &out, &complaints
	failed := cmd.Run()
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	last := tried{}
	for d := json.NewDecoder(&out); ; {
		var next tried
		if d.Decode(&next) != nil {
			break
		}
		last = next
	}
	switch {
	case last.Step == "" && !last.Done:
		// It did not begin: the policy in force may not let it. That must not
		// be what keeps a better policy out.
		t.log.Warn("cannot try the bundle in a process of its own, loading it at once", "error", failed, "output", firstLine(complaints.String()))
		return false, nil
	case !last.Done:
		return false, policy.Errors{{Code: policy.CodeUnbounded,
			Why:  fmt.Sprintf("the bundle exhausts the process that tries it, at the step %q: %s", last.Step, whyExhausted(failed, complaints.String())),
			Hint: fmt.Sprintf("simplify the rules: no long chains of operators, else or helpers; the process has %d MiB (policy.limits.compile_memory)", t.memory>>20)}}
	case last.Errors != nil:
		return false, last.Errors
	case last.Other != "":
		return false, errors.New(last.Other)
	}
	return true, nil
}

func whyExhausted(err error, complaints string) string {
	switch {
	case strings.Contains(complaints, "stack overflow") || strings.Contains(complaints, "stack exceeds"):
		return "it recurses too deep"
	case strings.Contains(complaints, "out of memory") || strings.Contains(complaints, "cannot allocate memory"):
		return "it needs too much memory"
	}
	return fmt.Sprintf("%v %s", err, firstLine(complaints))
}

func firstLine(s string) string { s, _, _ = strings.Cut(strings.TrimSpace(s), "\n"); return s }

func packArchives(archives [][]byte) (io.Reader, error) {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for i, raw := range archives {
		if err := tw.WriteHeader(&tar.Header{Name: strconv.Itoa(i), Mode: 0o600, Size: int64(len(raw)), Typeflag: tar.TypeReg}); err != nil {
			return nil, fmt.Errorf("pack archives: %w", err)
		}
		if _, err := tw.Write(raw); err != nil {
			return nil, fmt.Errorf("pack archives: %w", err)
		}
	}
	if err := tw.Close(); err != nil {
		return nil, fmt.Errorf("pack archives: %w", err)
	}
	return &b, nil
}

package main

import (
	"archive/tar"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"example.com/bailiff/policy"
	sources "example.com/bailiff/policy/source"
)

// OPA's compiler cannot be interrupted, and a bundle can be made on which it
// recurses or multiplies without end. So a child of the agent, under limits of
// memory and time, loads the bundle one step ahead of the agent: what kills the
// child does not kill the agent. What the child has done, the agent can do, or
// takes over: lowering is what takes longest.

// tried is what the child says: lines of JSON on its standard output.
type tried struct {
	Step   policy.Step   `json:"step,omitempty"` // what it is about to do
	Done   bool          `json:"done,omitempty"`
	Errors policy.Errors `json:"errors,omitempty"`
	Other  string        `json:"other,omitempty"` // an error that is no policy.Error
	// HandsOver: what it made of the rules comes on the descriptor handOver.
	HandsOver bool `json:"hands_over,omitempty"`
}

// tryCmd is the child. It is for the agent, not for people.
func (a *app) tryCmd() *cobra.Command {
	var limits policy.Limits
	var memory int64
	var cpu time.Duration
	var packs []string
	var handsOver bool
	c := &cobra.Command{
		Use: "try-bundle", Hidden: true, Args: cobra.NoArgs,
		Short: "Load a bundle from standard input, under limits (for the agent itself)",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := confine(memory, cpu); err != nil {
				return err
			}
			say := func(t tried) error { return json.NewEncoder(a.out).Encode(t) }
			if err := say(tried{Step: policy.StepRead}); err != nil {
				return err
			}
			p, err := tryBundle(c.Context(), os.Stdin, limits, packs, &pacer{base: paceChild, most: memory / 4 * 3}, say)
			out := tried{Done: true, HandsOver: handsOver && err == nil}
			if err != nil && !errors.As(err, &out.Errors) {
				out.Other = err.Error()
			}
			if err := say(out); err != nil || !out.HandsOver {
				return err
			}
			return gob.NewEncoder(os.NewFile(handOver, "hand-over")).Encode(p.Lowered())
		},
	}
	f := c.Flags()
	f.Int64Var(&memory, "memory", 1<<30, "bytes")
	f.DurationVar(&cpu, "cpu", time.Minute, "processor time")
	f.BoolVar(&handsOver, "hand-over", false, "write what was lowered to descriptor 3")
	f.StringArrayVar(&packs, "pack", nil, "")
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

// handOver is the descriptor on which the child gives what it made of the rules.
const handOver = 3

// announcer is policy.Ahead for the child: nobody is ahead of it, and it says
// what it is about to do.
type announcer func(tried) error

func (say announcer) Did(_ context.Context, s policy.Step) (bool, error) {
	return false, say(tried{Step: s})
}
func (announcer) Lowered() *policy.Lowered { return nil }

func tryBundle(ctx context.Context, r io.Reader, limits policy.Limits, packs []string, pace *pacer, say announcer) (*policy.Policy, error) {
	found, err := findPacks(packs)
	if err != nil {
		return nil, err
	}
	var archives [][]byte
	for tr := tar.NewReader(r); ; {
		_, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read archives: %w", err)
		}
		raw, err := io.ReadAll(tr)
		if err != nil {
			return nil, fmt.Errorf("read archives: %w", err)
		}
		archives = append(archives, raw)
	}
	a, err := sources.Join(archives, policy.Options{Limits: limits, Packs: found})
	if err != nil {
		return nil, err
	}
	pace.begin(a.Size())
	p, _, err := a.CompileAfter(ctx, say)
	return p, err
}

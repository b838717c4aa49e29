package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"example.com/bailiff/policy"
)

// trier starts the child.
type trier struct {
	limits policy.Limits
	packs  []policy.Pack
	memory int64 // bytes
	log    hclog.Logger
}

// try implements sources.Options.Try.
func (t *trier) try(ctx context.Context, archives [][]byte) (policy.Ahead, func()) {
	ctx, stop := context.WithCancel(ctx)
	c := &child{trier: t, ended: make(chan struct{}), changed: make(chan struct{})}
	go func() {
		defer close(c.ended)
		c.begun, c.err = c.run(ctx, archives)
	}()
	return c, func() { stop(); <-c.ended }
}

// child is one that tries a bundle. It implements policy.Ahead.
type child struct {
	*trier
	ended   chan struct{} // closed at its end; then these are valid:
	begun   bool
	err     error
	lowered *policy.Lowered

	mu      sync.Mutex
	at      policy.Step   // what it is doing
	changed chan struct{} // closed when it does the next thing
}

// Did implements policy.Ahead.
func (c *child) Did(ctx context.Context, s policy.Step) (bool, error) {
	for {
		c.mu.Lock()
		past, changed := slices.Index(policy.Steps, c.at) > slices.Index(policy.Steps, s), c.changed
		c.mu.Unlock()
		if past {
			return true, nil
		}
		select {
		case <-c.ended:
			return c.begun, c.err
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-changed:
		}
	}
}

// Lowered implements policy.Ahead.
func (c *child) Lowered() *policy.Lowered {
	select {
	case <-c.ended:
		return c.lowered
	default:
		return nil
	}
}

func (c *child) is(at policy.Step) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = at
	close(c.changed)
	c.changed = make(chan struct{})
}

// run is the child's life. begun is false if it could not be started.
func (c *child) run(ctx context.Context, archives [][]byte) (begun bool, err error) {
	in, err := packArchives(archives)
	if err != nil {
		return false, err
	}
	var complaints bytes.Buffer
	last, failed := c.listen(ctx, in, &complaints)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	switch {
	case last.Step == "" && !last.Done:
		// It did not begin: the policy in force may not let it. That must not
		// be what keeps a better policy out.
		c.log.Warn("cannot try the bundle in a process of its own, loading it at once", "error", failed, "output", firstLine(complaints.String()))
		return false, nil
	case !last.Done:
		return false, policy.Errors{{Code: policy.CodeUnbounded,
			Why:  fmt.Sprintf("the bundle exhausts the process that tries it, at the step %q: %s", last.Step, whyExhausted(failed, complaints.String())),
			Hint: fmt.Sprintf("simplify the rules: no long chains of operators, else or helpers; the process has %d MiB (policy.limits.compile_memory)", c.memory>>20)}}
	case last.Errors != nil:
		return false, last.Errors
	case last.Other != "":
		return false, errors.New(last.Other)
	}
	return true, nil
}

// listen starts the child and hears what it says until it ends: the last of it.
func (c *child) listen(ctx context.Context, in io.Reader, complaints io.Writer) (last tried, err error) {
	left := time.Minute
	if deadline, ok := ctx.Deadline(); ok {
		left = time.Until(deadline)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return last, err
	}
	defer r.Close()
	defer w.Close()
	args := []string{"try-bundle", "--hand-over", "--memory=" + strconv.FormatInt(c.memory, 10), "--cpu=" + (2 * left).String()}
	for _, p := range c.packs {
		name := p.Name
		if p.File != "" {
			name += "=" + p.File
		}
		args = append(args, "--pack", name)
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append(args, limitArgs(c.limits)...)...)
	cmd.Args[0] = "bailiff" // not its path: what is said about it, and what a test binary goes by
	cmd.Env = []string{}
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	cmd.Stdin, cmd.Stderr, cmd.ExtraFiles = in, complaints, []*os.File{w}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return last, err
	}
	if err := cmd.Start(); err != nil {
		return last, err
	}
	w.Close()
	for d := json.NewDecoder(out); ; {
		var next tried
		if d.Decode(&next) != nil {
			break
		}
		if last = next; next.Step != "" {
			c.is(next.Step)
		}
		if next.HandsOver {
			l := &policy.Lowered{}
			if err := gob.NewDecoder(io.LimitReader(r, c.memory)).Decode(l); err != nil {
				c.log.Warn("cannot take over what was lowered, lowering it here", "error", err)
				continue
			}
			c.lowered = l
		}
	}
	_, _ = io.Copy(io.Discard, out) // it must not wait for a reader
	return last, cmd.Wait()
}

func limitArgs(l policy.Limits) []string {
	i := func(name string, n int64) string { return "--" + name + "=" + strconv.FormatInt(n, 10) }
	return []string{i("archive-bytes", l.ArchiveBytes), i("total-bytes", l.TotalBytes), i("file-bytes", l.FileBytes), i("rego-bytes", l.RegoBytes),
		i("entries", int64(l.Entries)), i("nesting", int64(l.Nesting)), i("digits", int64(l.Digits)), i("rules", int64(l.Rules))}
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

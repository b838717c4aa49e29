package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.com/bailiff/internal/event"
)

// Config says how to start the agent.
type Config struct {
	Binary  string // the bailiff program
	Bundle  string // directory or archive; "" means the embedded one
	Backend string // lsm, modify-return, tracepoint; "" lets the agent choose
	Mode    event.Mode
	Cgroup  *Cgroup  // what enforcement is limited to
	Root    *Root    // the root directory that it runs in; nil means the caller's
	Keep    string   // directory for socket and spool that outlives the agent; "" means one that does not
	Args    []string // further arguments of `bailiff run`
}

// Agent is a running bailiff.
type Agent struct {
	Config
	Socket string
	cmd    *exec.Cmd
	dir    string
	log    *logBuffer
	ended  chan struct{} // closed when the process has been waited for
	err    error         // how it ended; valid after ended
}

// RootAgent is where a Root that an agent runs in must have the program.
const RootAgent = "/usr/bin/bailiff"

// Start runs `bailiff run` and returns when its socket answers.
func Start(ctx context.Context, c Config) (*Agent, error) {
	base, root := "", ""
	if c.Root != nil {
		base, root = c.Root.Path("/run"), c.Root.Dir
	}
	dir, err := c.Keep, error(nil)
	if dir == "" {
		if dir, err = os.MkdirTemp(base, "bailiff-run-"); err != nil {
			return nil, err
		}
	}
	a := &Agent{Config: c, Socket: filepath.Join(dir, "sock"), dir: dir, log: &logBuffer{}, ended: make(chan struct{})}
	inside := strings.TrimPrefix(dir, root) // as the agent sees it
	// The canary's acts are events too: tests that are not about it count theirs.
	args := []string{
		"run", "--socket", filepath.Join(inside, "sock"), "--mode", c.Mode.String(), "--spool", filepath.Join(inside, "spool"),
		"--state-dir", filepath.Join(inside, "state"),
		"--canary-every", "0s",
	}
	if c.Bundle != "" {
		args = append(args, "--bundle", c.Bundle)
	}
	if c.Backend != "" {
		args = append(args, "--backend", c.Backend)
	}
	if c.Cgroup != nil {
		args = append(args, "--scope", c.Cgroup.Dir)
	}
	a.cmd = exec.Command(c.Binary, append(args, c.Args...)...)
	if c.Root != nil {
		a.cmd.Path, a.cmd.Dir = RootAgent, "/"
		a.cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	}
	a.cmd.Stdout, a.cmd.Stderr = a.log, a.log
	if err := a.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start agent: %w", err), os.RemoveAll(dir))
	}
	go func() {
		a.err = a.cmd.Wait()
		close(a.ended)
	}()
	for {
		_, err := a.Status(ctx)
		if err == nil {
			return a, nil
		}
		select {
		case <-a.ended:
			err = fmt.Errorf("start agent: it ended (%w); its log:\n%s", a.err, a.Log())
		case <-ctx.Done():
			err = fmt.Errorf("start agent: no answer in time: %w; its log:\n%s", err, a.Log())
		case <-time.After(20 * time.Millisecond): // the socket is not there yet
			continue
		}
		return nil, errors.Join(err, a.Kill())
	}
}

// Log returns what the agent has logged.
func (a *Agent) Log() string { return a.log.String() }

// PID returns the agent's process id.
func (a *Agent) PID() int { return a.cmd.Process.Pid }

// CPU returns the processor time that the agent has used, user and system.
// It is known after the agent has ended.
func (a *Agent) CPU() time.Duration {
	return a.cmd.ProcessState.UserTime() + a.cmd.ProcessState.SystemTime()
}

// cleanUp removes what an agent has left, unless it is to be kept.
func (a *Agent) cleanUp() {
	if a.Keep == "" {
		_ = os.RemoveAll(a.dir)
	}
}

// Pause stops the agent's process from running until it is resumed or killed: it does
// not read what the kernel tells.
func (a *Agent) Pause() error { return a.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets it run again.
func (a *Agent) Resume() error { return a.cmd.Process.Signal(syscall.SIGCONT) }

// Stop asks the agent to end (SIGTERM) and waits for it.
func (a *Agent) Stop(ctx context.Context) error {
	defer a.cleanUp()
	_ = a.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-a.ended:
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("stop agent: it did not end in time; its log:\n%s", a.Log()), a.Kill())
	}
	if a.err != nil {
		return fmt.Errorf("stop agent: %w; its log:\n%s", a.err, a.Log())
	}
	return nil
}

// Kill ends the agent without asking.
func (a *Agent) Kill() error {
	defer a.cleanUp()
	if err := a.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-a.ended
	return nil
}

// CLI runs one bailiff command against the agent and returns its standard output.
func (a *Agent) CLI(ctx context.Context, args ...string) ([]byte, error) {
	return CLI(ctx, a.Binary, append(args, "--socket", a.Socket)...)
}

// CLI runs one bailiff command and returns its standard output.
func CLI(ctx context.Context, binary string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, fmt.Errorf("run bailiff %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out, nil
}

// Status is the part of `bailiff status -o json` that tests read.
type Status struct {
	Backend    string            `json:"backend"`
	Mode       string            `json:"mode"`
	Revision   string            `json:"revision"`
	Generation uint32            `json:"generation"`
	Counters   map[string]uint64 `json:"counters"`
	Conditions []Condition       `json:"conditions"`
	Canary     struct {
		Stage    string        `json:"stage"`
		Seen     time.Duration `json:"seen_ns"`
		Streamed time.Duration `json:"streamed_ns"`
	} `json:"canary"`
}

// Condition is one way of being unwell.
type Condition struct {
	Code     string `json:"code"`
	Severity string `json:"severity"`
	Text     string `json:"text"`
	Remedy   string `json:"remedy"`
}

// Status asks the agent how it is.
func (a *Agent) Status(ctx context.Context) (*Status, error) {
	out, err := a.CLI(ctx, "status", "-o", "json")
	if err != nil {
		return nil, err
	}
	var s Status
	if err := json.Unmarshal(out, &s); err != nil {
		return nil, fmt.Errorf("read status: %w: %s", err, out)
	}
	return &s, nil
}

// Diagnosis is the part of `bailiff doctor -o json` that is read here.
type Diagnosis struct {
	Backend   string `json:"backend"`    // the best that works; "" if none
	CanRefuse bool   `json:"can_refuse"` // it refuses acts before they happen
}

// Diagnose asks what the kernel lets Bailiff do. It needs root.
func Diagnose(ctx context.Context, binary string) (*Diagnosis, error) {
	// The command fails if nothing can be refused: what it says still counts.
	out, runErr := CLI(ctx, binary, "doctor", "-o", "json")
	var d Diagnosis
	if err := json.Unmarshal(out, &d); err != nil {
		return nil, errors.Join(fmt.Errorf("read diagnosis: %w", err), runErr)
	}
	if d.Backend == "" {
		return nil, fmt.Errorf("no backend works on this machine: %w", runErr)
	}
	return &d, nil
}

// SetMode switches the agent's mode.
func (a *Agent) SetMode(ctx context.Context, m event.Mode) error {
	_, err := a.CLI(ctx, "mode", m.String())
	return err
}

// logBuffer collects output of a process that still runs.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// ProcessCPU returns the processor time that a running process has used, user
// and system, and that its children had that have ended, to a hundredth of a
// second (proc_pid_stat(5), fields 14 to 17).
func ProcessCPU(pid int) (own, children time.Duration, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	// The name in field 2 may hold anything, so count from its end.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	var ticks [4]time.Duration
	for i := range ticks {
		n, err := strconv.ParseInt(fields[11+i], 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read process times: %w", err)
		}
		ticks[i] = time.Duration(n) * 10 * time.Millisecond
	}
	return ticks[0] + ticks[1], ticks[2] + ticks[3], nil
}

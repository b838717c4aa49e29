package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// actFlag, as first argument, makes the calling program an act program.
const actFlag = "-act"

// Step is what one step of an act program met.
type Step struct {
	Step  string `json:"step"`
	Errno int    `json:"errno"` // 0: it succeeded
	Text  string `json:"text,omitempty"`
}

// Outcome is what became of an act program.
type Outcome struct {
	Steps  []Step
	Exit   int            // exit status; -1 if a signal ended it
	Signal syscall.Signal // 0 if it ended by itself
	Errno  syscall.Errno  // of starting it: clone and execve
	PID    int
	Stderr string // what it complained about
}

// Last returns the errno of the last step that reported, or of the start if
// the program never ran.
func (o *Outcome) Last() syscall.Errno {
	if o.Errno != 0 || len(o.Steps) == 0 {
		return o.Errno
	}
	return syscall.Errno(o.Steps[len(o.Steps)-1].Errno)
}

func (o *Outcome) String() string {
	return fmt.Sprintf("start errno %d, exit %d, signal %d, steps %+v", int(o.Errno), o.Exit, int(o.Signal), o.Steps)
}

// Actor runs act programs.
type Actor struct {
	Program string   // a program whose main calls RunIfAct; "" means the calling one
	Cgroup  *Cgroup  // where they run; nil means where the caller is
	UID     uint32   // user and group that they run as; 0 keeps root
	Dir     string   // working directory
	Root    *Root    // the root directory that they run in; nil means the caller's
	Env     []string // of Exec; nothing by default
}

// Do runs one act program that does the steps one after another, each given as
// name and arguments; it stops at the first that fails.
func (a Actor) Do(steps ...[]string) (*Outcome, error) {
	program := a.Program
	if program == "" {
		program = "/proc/self/exe"
	}
	args := []string{actFlag}
	for i, s := range steps {
		if i > 0 {
			args = append(args, "--")
		}
		args = append(args, s...)
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = a.Dir
	cmd.Env = []string{"GOMAXPROCS=1"}
	if a.UID != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.UID, Gid: a.UID}}
	}
	return a.run(cmd)
}

// Exec runs any program with arguments; only exit, signal and errno are known.
func (a Actor) Exec(path string, args ...string) (*Outcome, error) {
	cmd := &exec.Cmd{Path: path, Args: append([]string{path}, args...), Dir: a.Dir, Env: append([]string{}, a.Env...)}
	if a.UID != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: a.UID, Gid: a.UID}}
	}
	return a.run(cmd)
}

func (a Actor) run(cmd *exec.Cmd) (*Outcome, error) {
	if a.Cgroup != nil {
		a.Cgroup.Put(cmd)
	}
	if a.Root != nil {
		if cmd.SysProcAttr == nil {
			cmd.SysProcAttr = &syscall.SysProcAttr{}
		}
		cmd.SysProcAttr.Chroot = a.Root.Dir
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	o := &Outcome{Exit: -1}
	err := cmd.Start()
	if errno := syscall.Errno(0); errors.As(err, &errno) {
		o.Errno = errno
		return o, nil
	} else if err != nil {
		return nil, err
	}
	o.PID = cmd.Process.Pid
	err = cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		o.Signal = ws.Signal()
	} else {
		o.Exit = ws.ExitStatus()
	}
	for _, line := range strings.Split(strings.TrimSpace(stdout.String()), "\n") {
		var s Step
		if json.Unmarshal([]byte(line), &s) == nil && s.Step != "" {
			o.Steps = append(o.Steps, s)
		}
	}
	o.Stderr = stderr.String()
	if o.Exit == 2 && stderr.Len() > 0 && slices.Contains(cmd.Args, actFlag) {
		return o, fmt.Errorf("run act program: %s", stderr.String())
	}
	return o, nil
}

// RunIfAct turns the process into an act program if its arguments ask for it,
// and then does not return. Programs that serve as Actor.Program call it first.
func RunIfAct() {
	if len(os.Args) < 2 || os.Args[1] != actFlag {
		return
	}
	// Namespaces, ids and the current directory are per thread.
	runtime.LockOSThread()
	enc := json.NewEncoder(os.Stdout)
	for _, step := range splitSteps(os.Args[2:]) {
		f, ok := steps()[step[0]]
		if !ok {
			fmt.Fprintf(os.Stderr, "no step is called %q", step[0])
			os.Exit(2)
		}
		text, err := f(step[1:])
		s := Step{Step: step[0], Text: text}
		if errno := syscall.Errno(0); errors.As(err, &errno) {
			s.Errno = int(errno)
		} else if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v", step[0], err)
			os.Exit(2)
		}
		_ = enc.Encode(s)
		if err != nil {
			os.Exit(1)
		}
	}
	os.Exit(0)
}

func splitSteps(args []string) (out [][]string) {
	cur := []string{}
	for _, a := range append(args, "--") {
		if a != "--" {
			cur = append(cur, a)
			continue
		}
		if len(cur) > 0 {
			out = append(out, cur)
		}
		cur = nil
	}
	return out
}

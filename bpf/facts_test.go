package bpf

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// starts runs a program inside the cgroup, as set says, and returns how it ended.
func (w *world) starts(set func(*exec.Cmd), args ...string) (killed bool, err error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(w.dir.Fd())}
	if set != nil {
		set(cmd)
	}
	err = cmd.Run()
	st := cmd.ProcessState
	return st != nil && st.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL, err
}

func mask(names []string, set ...string) ir.Cond {
	field := event.FieldStdio
	switch {
	case slices.Contains(event.ProcessTraits, set[0]):
		field = event.FieldProcessTraits
	case slices.Contains(event.Traits, set[0]):
		field = event.FieldTraits
	}
	return ir.Cond{Field: field, Op: ir.OpMaskAny, Mask: event.FlagMask(names, set)}
}

// TestStdio: what the new image will have as its first descriptors is judged and
// told; what looks like a socket and is none, or is closed by the exec, is not.
func TestStdio(t *testing.T) {
	w := newWorld(t, Options{})
	dir := t.TempDir()
	prog := filepath.Join(dir, "shell")
	if err := harness.WriteProgram(prog, harness.ExitProgram()); err != nil {
		t.Fatal(err)
	}
	w.enforce(denyExec(ir.Cond{Field: event.FieldPath, Op: ir.OpIn, Strs: []string{prog}},
		mask(event.Stdio, "stdin_network", "stdout_network")))

	socket := func(domain, kind int) *os.File {
		fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "socket")
		t.Cleanup(func() { f.Close() })
		return f
	}
	listener, err := net.Listen("unix", filepath.Join(dir, "named"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	fd, err := unix.Open(filepath.Join(dir, "named"), unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	named := os.NewFile(uintptr(fd), "named")
	defer named.Close()
	listens, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listens.Close()
	waiting, err := listens.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	tcp, udp6, local := socket(unix.AF_INET, unix.SOCK_STREAM), socket(unix.AF_INET6, unix.SOCK_DGRAM), socket(unix.AF_UNIX, unix.SOCK_STREAM)

	for _, c := range []struct {
		name   string
		set    func(*exec.Cmd)
		args   []string
		killed bool
		want   []string
	}{
		{"none", nil, []string{prog}, false, nil},
		{"input from the network", func(c *exec.Cmd) { c.Stdin = tcp }, []string{prog}, true, []string{"stdin_socket", "stdin_network"}},
		{"output to the network", func(c *exec.Cmd) { c.Stdout, c.Stderr = udp6, udp6 }, []string{prog}, true, []string{"stdout_socket", "stderr_socket", "stdout_network", "stderr_network"}},
		{"errors to the network", func(c *exec.Cmd) { c.Stderr = tcp }, []string{prog}, false, []string{"stderr_socket", "stderr_network"}},
		{"a local socket", func(c *exec.Cmd) { c.Stdin, c.Stdout = local, local }, []string{prog}, false, []string{"stdin_socket", "stdout_socket"}},
		{"a socket that listens", func(c *exec.Cmd) { c.Stdin = waiting }, []string{prog}, false, []string{"stdin_socket"}},
		{"the file of a named socket", func(c *exec.Cmd) { c.Stdin = named }, []string{prog}, false, nil},
		{"another program", func(c *exec.Cmd) { c.Stdin = tcp }, []string{"/bin/true"}, false, []string{"stdin_socket", "stdin_network"}},
		{"closed by the exec", func(c *exec.Cmd) { c.Stdin = tcp },
			[]string{"perl", "-MFcntl", "-e", `fcntl(STDIN, F_SETFD, FD_CLOEXEC); exec @ARGV`, prog}, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath(c.args[0]); err != nil {
				t.Skip(err)
			}
			w := &world{t: t, k: w.k, dir: w.dir}
			killed, err := w.starts(c.set, c.args...)
			if killed != c.killed || err != nil && !killed {
				t.Errorf("killed %v, want %v (%v)", killed, c.killed, err)
			}
			execs := 1
			if len(c.args) > 1 {
				execs = 2
			}
			ev := w.events(event.HookExec, execs)[execs-1]
			if !slices.Equal(ev.Process.Stdio, c.want) || (ev.Decision.Rule != nil) != c.killed {
				t.Errorf("%s: stdio %q, want %q; rule %v", ev.File.Path, ev.Process.Stdio, c.want, ev.Decision.Rule)
			}
		})
	}
}

// TestProcessTraits: which namespaces are not the first ones, and what that
// makes of a process.
func TestProcessTraits(t *testing.T) {
	w := newWorld(t, Options{})
	dir := t.TempDir()
	prog := filepath.Join(dir, "prog")
	w.enforce(denyExec(ir.Cond{Field: event.FieldName, Op: ir.OpIn, Strs: []string{"prog"}}, mask(event.ProcessTraits, "container")))
	flags := func(flags uintptr, root string) func(*exec.Cmd) {
		return func(c *exec.Cmd) { c.SysProcAttr.Cloneflags, c.SysProcAttr.Chroot = flags, root }
	}
	static := filepath.Join(dir, "root")
	if err := os.Mkdir(static, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{prog, filepath.Join(static, "prog")} {
		if err := harness.WriteProgram(p, harness.ExitProgram()); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		set    func(*exec.Cmd)
		prog   string
		killed bool
		want   []string
	}{
		{"the host's", nil, prog, false, nil},
		{"mounts", flags(unix.CLONE_NEWNS, ""), prog, false, []string{"own_mnt_ns"}},
		{"pids", flags(unix.CLONE_NEWPID, ""), prog, false, []string{"own_pid_ns"}},
		{"users", flags(unix.CLONE_NEWUSER, ""), prog, false, []string{"own_user_ns"}},
		{"another root", flags(0, static), "/prog", false, nil},
		{"mounts and pids", flags(unix.CLONE_NEWNS|unix.CLONE_NEWPID, ""), prog, true, []string{"container", "own_mnt_ns", "own_pid_ns"}},
		{"mounts and another root", flags(unix.CLONE_NEWNS, static), "/prog", true, []string{"container", "own_mnt_ns"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &world{t: t, k: w.k, dir: w.dir}
			killed, err := w.starts(c.set, c.prog)
			if killed != c.killed || err != nil && !killed {
				t.Errorf("killed %v, want %v (%v)", killed, c.killed, err)
			}
			ev := w.events(event.HookExec, 1)[0]
			if !slices.Equal(ev.Process.Traits, c.want) || (ev.Decision.Rule != nil) != c.killed {
				t.Errorf("traits %q, want %q; rule %v", ev.Process.Traits, c.want, ev.Decision.Rule)
			}
		})
	}
}

// TestOverlayUpper: a file of the image is told from one that was made, or
// changed, on top of it.
func TestOverlayUpper(t *testing.T) {
	w := newWorld(t, Options{})
	dir := t.TempDir()
	for _, d := range []string{"lower", "m", "rw"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"whole", "changed"} {
		copyFile(t, "/bin/true", filepath.Join(dir, "lower", name))
	}
	w.enforce(denyExec(mask(event.Traits, "overlay_upper")))
	// The mounts are the shell's own and go with it.
	script := `cd ` + dir + ` && mount -t tmpfs none rw && mkdir rw/upper rw/work && mount -t overlay none -o lowerdir=lower,upperdir=rw/upper,workdir=rw/work m || exit 9
cp /bin/true m/made && chmod 700 m/changed; m/whole; echo $?; m/made; echo $?; m/changed; echo $?`
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(w.dir.Fd()), Cloneflags: unix.CLONE_NEWNS}
	out, err := cmd.Output()
	if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 9 {
		t.Skip("this kernel mounts no overlay")
	}
	if err != nil && len(out) == 0 {
		t.Fatal(err)
	}
	if string(out) != "0\n137\n137\n" {
		t.Errorf("ended with %q", out)
	}
	seen := map[string][]string{}
	for len(seen) < 3 {
		if ev := w.events(event.HookExec, 1)[0]; ev.File.FsType == "overlay" {
			seen[ir.BaseName(ev.File.Path)] = ev.File.Traits
		}
	}
	for name, want := range map[string]bool{"whole": false, "made": true, "changed": true} {
		if slices.Contains(seen[name], "overlay_upper") != want {
			t.Errorf("%s has traits %q", name, seen[name])
		}
	}
}

// TestFileAge: how long ago a file was changed is judged and told, whatever its
// other times say, and follows when the clock is set.
func TestFileAge(t *testing.T) {
	w := newWorld(t, Options{})
	dir := t.TempDir()
	young := filepath.Join(dir, "young")
	if err := harness.WriteProgram(young, harness.ExitProgram()); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(young, time.Unix(0, 0), time.Unix(0, 0)); err != nil {
		t.Fatal(err)
	}
	w.enforce(denyExec(ir.Cond{Field: event.FieldFileAge, Op: ir.OpLess, Nums: []uint64{3600}}))
	run := func(path string, dead bool, atLeast uint64) {
		t.Helper()
		killed, err := w.starts(nil, path)
		if killed != dead || err != nil && !killed {
			t.Errorf("%s: killed %v (%v), want %v", path, killed, err, dead)
		}
		if ev := w.events(event.HookExec, 1)[0]; (ev.FileAge < 3600) != dead || ev.FileAge < atLeast || (ev.Decision.Rule != nil) != dead {
			t.Errorf("%s is %d seconds old, rule %v", path, ev.FileAge, ev.Decision.Rule)
		}
	}
	run(young, true, 0)
	if st, err := os.Stat("/bin/true"); err == nil && time.Since(time.Unix(st.Sys().(*syscall.Stat_t).Ctim.Unix())) > 2*time.Hour {
		run("/bin/true", false, 7200)
	}
	// As if the clock had been set back since.
	w.k.mu.Lock()
	w.k.config.Wall += uint64(24 * time.Hour)
	w.k.mu.Unlock()
	if err := w.k.followClock(); err != nil {
		t.Fatal(err)
	}
	var written kernelConfig
	if err := w.k.coll.Variables["settings"].Get(&written); err != nil {
		t.Fatal(err)
	}
	if off := (time.Duration(written.Wall) - wallOffset()).Abs(); off > clockSlack {
		t.Errorf("the kernel side's clock is off by %v", off)
	}
}

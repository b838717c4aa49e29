package bpf

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
	"example.com/bailiff/internal/event"
)

// BenchmarkAtGate is what the kernel is asked about one exec that waits.
func BenchmarkAtGate(b *testing.B) {
	for _, reads := range []string{"file.path", "process.uid"} {
		b.Run(reads, func(b *testing.B) {
			w := newWorld(b, Options{})
			prog := filepath.Join(b.TempDir(), "guilty")
			if err := harness.WriteProgram(prog, harness.ExitProgram()); err != nil {
				b.Fatal(err)
			}
			gen := w.enforce(heldProgram("guilty", reads))
			waits := exec.Command("/bin/cat")
			waits.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(w.dir.Fd())}
			end, err := waits.StdinPipe()
			if err != nil {
				b.Fatal(err)
			}
			if err := waits.Start(); err != nil {
				b.Fatal(err)
			}
			f, err := os.Open(prog)
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			for b.Loop() {
				ev, _, err := w.k.AtGate(gen, int(f.Fd()), int32(waits.Process.Pid))
				if err != nil || ev == nil {
					b.Fatal(ev, err)
				}
				if err := w.k.RememberHeld(gen, ev, event.VerdictAllow, false); err != nil {
					b.Fatal(err)
				}
			}
			_ = end.Close()
			_ = waits.Wait()
		})
	}
}

// TestGateFacts: what the kernel side says of a thread by its process's
// descriptor is what /proc says, for each thread.
func TestGateFacts(t *testing.T) {
	w := newWorld(t, Options{})
	cmd := exec.Command("/bin/cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: &syscall.Credential{Uid: 4242, Gid: 4243}}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket := os.NewFile(uintptr(pair[0]), "stdin")
	cmd.Stdin, cmd.Stdout = socket, socket
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { unix.Close(pair[1]); _ = cmd.Wait() }()
	// Start returns a moment before the new program has its name: it says when it runs.
	echo := []byte{'x'}
	if _, err := unix.Write(pair[1], echo); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Read(pair[1], echo); err != nil {
		t.Fatal(err)
	}
	threads := map[int32]int{int32(cmd.Process.Pid): cmd.Process.Pid}
	own, err := os.ReadDir("/proc/self/task") // a process of several
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range own {
		tid, _ := strconv.Atoi(d.Name())
		threads[int32(tid)] = os.Getpid()
	}
	for tid, pid := range threads {
		if leader, err := leaderOf(tid); err != nil || int(leader) != pid {
			t.Errorf("thread %d is of process %d: %v", tid, leader, err)
		}
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		var x kernelExamined
		if err := w.k.gate.examine(&x, kernelExamineOf{Fd: uint32(w.dir.Fd()), Pidfd: uint32(pidfd), Tid: uint32(tid)}); err != nil {
			t.Fatal(err)
		}
		var want kernelWireSubject
		if err := readFacts(&want, tid); err != nil {
			t.Fatal(err)
		}
		want.Traits = x.Who.Traits // see TestFacts
		if x.Who != want {
			t.Errorf("got  %+v\nwant %+v", x.Who, want)
		}
		if socket := x.Stdio&1 != 0; socket != (pid != os.Getpid()) {
			t.Errorf("stdin of process %d: %#x", pid, x.Stdio)
		}
		// Another number than one of its threads is nobody.
		if err := w.k.gate.examine(&x, kernelExamineOf{Fd: uint32(w.dir.Fd()), Pidfd: uint32(pidfd), Tid: 1}); err != nil || x.Who.Tid != 0 {
			t.Errorf("thread %d, %v", x.Who.Tid, err)
		}
		unix.Close(pidfd)
	}
}

// readFacts reads what /proc says of a thread.
func readFacts(s *kernelWireSubject, tid int32) error {
	dir := "/proc/" + strconv.Itoa(int(tid)) + "/"
	if err := readStatus(s, tid); err != nil {
		return err
	}
	s.Loginuid = ^uint32(0) // a kernel without audit has none
	if b, err := os.ReadFile(dir + "loginuid"); err == nil {
		if n, err := strconv.ParseUint(string(bytes.TrimSpace(b)), 10, 32); err == nil {
			s.Loginuid = uint32(n)
		}
	}
	b, err := os.ReadFile(dir + "stat")
	if err != nil {
		return fmt.Errorf("read stat of thread %d: %w", tid, err)
	}
	f := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:])
	if len(f) < 5 {
		return fmt.Errorf("read stat of thread %d: %d fields", tid, len(f))
	}
	tty, _ := strconv.ParseInt(string(f[4]), 10, 64) // as a signed 32-bit number
	s.Tty = uint32(int32(tty))
	for name, to := range map[string]*uint32{"mnt": &s.MntNs, "pid_for_children": &s.PidNs, "user": &s.UserNs} {
		var st unix.Stat_t
		if err := unix.Stat(dir+"ns/"+name, &st); err == nil {
			*to = uint32(st.Ino)
		}
	}
	return nil
}

// readStatus reads /proc/TID/status. Ids there are those of the reader's user
// namespace, which is the initial one.
func readStatus(s *kernelWireSubject, tid int32) error {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(int(tid)) + "/status")
	if err != nil {
		return fmt.Errorf("read status of thread %d: %w", tid, err)
	}
	s.Tid = uint32(tid)
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		name, rest, _ := strings.Cut(sc.Text(), ":")
		f := strings.Fields(rest)
		if len(f) == 0 {
			continue
		}
		num := func(i, base int) uint64 {
			if i >= len(f) {
				return 0
			}
			n, _ := strconv.ParseUint(f[i], base, 64)
			return n
		}
		switch name {
		case "Name":
			copyChars(s.Comm[:], strings.TrimPrefix(rest, "\t"))
		case "Tgid":
			s.Pid = uint32(num(0, 10))
		case "PPid":
			s.Ppid = uint32(num(0, 10))
		case "Uid":
			s.Uid, s.Euid = uint32(num(0, 10)), uint32(num(1, 10))
		case "Gid":
			s.Gid, s.Egid = uint32(num(0, 10)), uint32(num(1, 10))
		case "CapEff":
			s.Caps = num(0, 16)
		}
	}
	if s.Pid == 0 {
		return fmt.Errorf("read status of thread %d: no Tgid", tid)
	}
	return nil
}

func copyChars(to []int8, s string) {
	for i := 0; i < len(s) && i < len(to)-1; i++ {
		to[i] = int8(s[i])
	}
}

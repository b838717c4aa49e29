package guest

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

//go:embed init.sh
var initScript []byte

// Machine is one guest to boot.
type Machine struct {
	Kernel string            // boot image on the host
	Files  map[string]string // guest path -> host path
	Script string            // shell script that is run in the guest as root
	// ICount makes the guest's clock advance one nanosecond for each executed
	// instruction: its CLOCK_MONOTONIC then counts instructions, the same in
	// each run.
	ICount bool
	Memory int // MiB; 0 means 1024
	// Disk adds an empty ext4 filesystem of a few megabytes, on the device that the
	// guest knows as DiskDevice: all else that it has is in memory.
	Disk bool
	// Root is a root filesystem with systemd (Debian.Root). It is booted as a
	// machine is, and the script runs when it is up.
	Root string
	// Links are symbolic links that are added to Root: guest path -> target.
	Links map[string]string
}

// Output is what a guest left behind.
type Output struct {
	Exit    int    // exit status of the script
	Console []byte // the kernel's console
}

// ErrNoQEMU is the reason for a machine without the emulator.
var ErrNoQEMU = errors.New("no guest: qemu-system-x86_64 is not installed (Debian package qemu-system-x86)")

// ErrNoBusybox is the reason for a machine without a static shell.
var ErrNoBusybox = errors.New("no guest: no static busybox (Debian package busybox-static)")

// Run boots the machine and calls line for each line that the script prints,
// while it runs. It returns when the guest has powered off, or when ctx ends,
// which kills it. A guest that ends without an exit status (panic, hang) is an
// error that carries the end of its console.
func (m *Machine) Run(ctx context.Context, line func(string)) (*Output, error) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, ErrNoQEMU
	}
	dir, err := os.MkdirTemp("", "bailiff-guest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	initrd := filepath.Join(dir, "initrd")
	if err := m.initramfs(initrd); err != nil {
		return nil, err
	}
	args := m.args(initrd)
	if m.Disk {
		disk := filepath.Join(dir, "disk")
		if err := makeDisk(ctx, disk); err != nil {
			return nil, err
		}
		args = append(args, "-drive", "if=none,id=disk,format=raw,file="+disk, "-device", "nvme,drive=disk,serial=disk")
	}
	// The second serial port is a pipe: QEMU opens it by its name in /dev/fd.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd := exec.CommandContext(ctx, qemu, args...)
	cmd.ExtraFiles = []*os.File{w}
	var console tail
	cmd.Stdout, cmd.Stderr = &console, &console
	err = cmd.Start()
	w.Close()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", qemu, err)
	}
	exit, readErr := readLines(r, line)
	err = errors.Join(cmd.Wait(), readErr, ctx.Err())
	out := &Output{Exit: exit, Console: console.Bytes()}
	if exit < 0 {
		err = errors.Join(errors.New("it ended without an exit status"), err)
	}
	if err != nil {
		return out, fmt.Errorf("run guest: %w; end of its console:\n%s", err, console.last(4096))
	}
	return out, nil
}

func (m *Machine) args(initrd string) []string {
	mem := m.Memory
	if mem == 0 {
		mem = 1024
	}
	// Emulated, a string instruction goes byte by byte: without ERMS the kernel
	// clears pages by words, and it need not clear what it allocates besides. A
	// measurement is of what the kernel does by itself.
	cpu, zeroing := "max,erms=off,fsrm=off", " init_on_alloc=0"
	if m.ICount {
		cpu, zeroing = "max", ""
	}
	args := []string{
		"-accel", "tcg", "-cpu", cpu, "-smp", "1", "-m", strconv.Itoa(mem),
		"-nodefaults", "-display", "none", "-no-reboot",
		"-serial", "stdio",
		"-chardev", "file,id=results,path=/dev/fd/3", "-serial", "chardev:results",
		"-kernel", m.Kernel, "-initrd", initrd,
		// no_timer_check: on a busy host the emulated timer may look dead to the
		// kernel when it tries it out, and the guest would panic.
		"-append", "console=ttyS0 quiet oops=panic panic=-1 mitigations=off no_timer_check rdinit=/init" + zeroing,
	}
	if m.Root != "" {
		args[len(args)-1] = "console=ttyS0 quiet oops=panic panic=-1 mitigations=off rdinit=/sbin/init systemd.log_target=console systemd.show_status=0" + zeroing
	}
	if m.ICount {
		args = append(args, "-icount", "shift=0,sleep=off")
	}
	return args
}

func (m *Machine) initramfs(name string) (err error) {
	if m.Root != "" {
		return m.debianInitramfs(name)
	}
	busybox, err := Busybox()
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := bufio.NewWriterSize(f, 1<<20)
	a := newArchive(buf)
	for _, d := range []string{"dev", "proc", "sys", "tmp"} {
		a.dir(d)
	}
	a.data("init", 0o755, initScript)
	a.data("run.sh", 0o644, []byte(m.Script))
	if err := a.files(map[string]string{"bin/busybox": busybox}); err != nil {
		return fmt.Errorf("write initramfs: %w", err)
	}
	if err := a.files(m.Files); err != nil {
		return fmt.Errorf("write initramfs: %w", err)
	}
	return errors.Join(a.finish(), buf.Flush())
}

// Busybox returns a busybox of this machine that runs without libraries.
func Busybox() (string, error) {
	for _, p := range []string{"/usr/bin/busybox", "/bin/busybox"} {
		b, err := os.ReadFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && !bytes.Contains(b[:min(len(b), 4096)], []byte("/lib64/ld-linux")) {
			return p, nil
		}
	}
	return "", ErrNoBusybox
}

// readLines calls line for each line until the guest reports its exit status,
// which it returns; -1 if it never came.
func readLines(r io.Reader, line func(string)) (int, error) {
	exit := -1
	br := bufio.NewReaderSize(r, 1<<16)
	for {
		s, err := br.ReadString('\n')
		s = strings.TrimRight(s, "\r\n")
		if n, ok := strings.CutPrefix(s, "guest-exit "); ok {
			exit, _ = strconv.Atoi(n)
		} else if s != "" || err == nil {
			line(s)
		}
		if errors.Is(err, io.EOF) {
			return exit, nil
		} else if err != nil {
			return exit, fmt.Errorf("read guest: %w", err)
		}
	}
}

// tail keeps what is written to it; Write is called from one goroutine of
// os/exec, the rest after it has ended.
type tail struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.Write(p)
}

func (t *tail) Bytes() []byte { return t.b.Bytes() }

func (t *tail) last(n int) []byte {
	b := t.b.Bytes()
	return b[max(0, len(b)-n):]
}

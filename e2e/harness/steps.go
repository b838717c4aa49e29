package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// steps is what an act program can do, by name. A step returns a text for the
// report and an error that is or wraps an errno.
func steps() map[string]func(args []string) (string, error) {
	return map[string]func(args []string) (string, error){
		"nop":     func([]string) (string, error) { return "", nil },
		"open":    stepOpen,
		"opath":   stepOpenByProc,
		"handle":  stepOpenByHandle,
		"deep":    stepOpenDeep,
		"uring":   stepOpenByRing,
		"map":     stepMap,
		"receive": stepReceive,
		"mapanon": stepMapAnon,
		"hammer":  stepHammer,
		"flood":   stepFlood,
		"measure": stepMeasure, "measure-spawn": stepMeasureSpawn,

		"chroot":  func(a []string) (string, error) { return "", first(unix.Chroot(a[0]), unix.Chdir("/")) },
		"chdir":   func(a []string) (string, error) { return "", unix.Chdir(a[0]) },
		"unshare": stepUnshare,
		"bind":    func(a []string) (string, error) { return "", unix.Mount(a[0], a[1], "", unix.MS_BIND, "") },
		"tmpfs":   func(a []string) (string, error) { return "", unix.Mount("tmpfs", a[0], "tmpfs", 0, "") },
		"link":    func(a []string) (string, error) { return "", unix.Link(a[0], a[1]) },
		"rename":  func(a []string) (string, error) { return "", unix.Rename(a[0], a[1]) },
		"unlink":  func(a []string) (string, error) { return "", unix.Unlink(a[0]) },
		"symlink": func(a []string) (string, error) { return "", unix.Symlink(a[0], a[1]) },
		"mknod":   func(a []string) (string, error) { return "", unix.Mknod(a[0], unix.S_IFIFO|0o644, 0) },
		"cut":     func(a []string) (string, error) { return "", unix.Truncate(a[0], 0) },
		"swap": func(a []string) (string, error) {
			return "", unix.Renameat2(unix.AT_FDCWD, a[0], unix.AT_FDCWD, a[1], unix.RENAME_EXCHANGE)
		},
		"setuid": stepSetUID,
		"enter":  stepEnter,

		"ptrace": stepPtrace,
		"vmread": stepVMRead,
		"fork":   stepFork,
		"crowd":  stepCrowd,
		"spawn":  stepSpawn,
		"tty":    stepTTY,
		"thread": stepThread,
		"exec":   stepExec,
		"env":    stepEnv,
		"flip":   stepFlip,
		"become": stepBecome,
		"fexec":  stepFexec,
		"memfd":  stepMemfd,
	}
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// stepOpen opens args[0] the way that args[1] names: r, w, rw, trunc, create, path, dir.
func stepOpen(args []string) (string, error) {
	flags := map[string]int{
		"r": unix.O_RDONLY, "w": unix.O_WRONLY, "rw": unix.O_RDWR, "trunc": unix.O_WRONLY | unix.O_TRUNC,
		"create": unix.O_WRONLY | unix.O_CREAT, "path": unix.O_PATH, "dir": unix.O_RDONLY | unix.O_DIRECTORY,
	}
	how := "r"
	if len(args) > 1 {
		how = args[1]
	}
	fd, err := unix.Open(args[0], flags[how]|unix.O_CLOEXEC, 0o644)
	if err == nil {
		unix.Close(fd)
	}
	return "", err
}

// stepPtrace attaches to the process args[0], which ends with this one.
func stepPtrace(args []string) (string, error) {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return "", err
	}
	runtime.LockOSThread() // for good: the thread is the tracer
	return "", unix.PtraceSeize(pid)
}

// stepVMRead reads a byte of the memory of the process args[0]. There is none
// at the address: who may read gets EFAULT, which is success here.
func stepVMRead(args []string) (string, error) {
	pid, err := strconv.Atoi(args[0])
	if err != nil {
		return "", err
	}
	b := []byte{0}
	local := []unix.Iovec{{Base: &b[0], Len: 1}}
	if _, err = unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: 1, Len: 1}}, 0); errors.Is(err, unix.EFAULT) {
		err = nil
	}
	return "", err
}

// stepOpenByProc takes a path descriptor, which is no open, and opens it anew
// through /proc/self/fd.
func stepOpenByProc(args []string) (string, error) {
	fd, err := unix.Open(args[0], unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open path descriptor: %v", err)
	}
	return stepOpen([]string{"/proc/self/fd/" + strconv.Itoa(fd)})
}

// stepOpenByHandle opens a file by its file handle.
func stepOpenByHandle(args []string) (string, error) {
	h, _, err := unix.NameToHandleAt(unix.AT_FDCWD, args[0], 0)
	if err != nil {
		return "", fmt.Errorf("take file handle: %v", err)
	}
	mount, err := unix.Open(filepath.Dir(args[0]), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open directory: %v", err)
	}
	fd, err := unix.OpenByHandleAt(mount, h, unix.O_RDONLY|unix.O_CLOEXEC)
	if err == nil {
		unix.Close(fd)
	}
	return "", err
}

// stepOpenDeep opens the file args[1] below args[0], where the path between is
// longer than one system call takes: it goes down directory by directory.
func stepOpenDeep(args []string) (string, error) {
	if err := unix.Chdir(args[0]); err != nil {
		return "", fmt.Errorf("go to top: %v", err)
	}
	dirs := strings.Split(args[1], "/")
	for _, d := range dirs[:len(dirs)-1] {
		if err := unix.Chdir(d); err != nil {
			return "", fmt.Errorf("go down: %v", err)
		}
	}
	return stepOpen([]string{dirs[len(dirs)-1]})
}

// stepReceive opens args[0] the way that args[1] names, r or w, sends the descriptor
// to itself, becomes the user args[2] and takes it; with getfd by pidfd_getfd. EPERM
// if none arrives: the kernel cuts the message short and gives no reason.
func stepReceive(args []string) (string, error) {
	var fd int
	var err error
	switch args[1] {
	case "socket":
		fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	case "memory":
		fd, err = unix.MemfdCreate("sent", unix.MFD_CLOEXEC)
	case "w":
		fd, err = unix.Open(args[0], unix.O_WRONLY|unix.O_CLOEXEC, 0)
	default:
		fd, err = unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return "", fmt.Errorf("open what is sent: %v", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(fd), nil, 0)
	}
	if err == nil {
		_, err = stepSetUID(args[2:])
	}
	if err != nil {
		return "", fmt.Errorf("send: %v", err)
	}
	if args[1] == "getfd" {
		return "", takeOwn(fd)
	}
	control := make([]byte, unix.CmsgSpace(4))
	_, n, flags, _, err := unix.Recvmsg(pair[1], make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("receive: %v", err)
	}
	if n == 0 && flags&unix.MSG_CTRUNC != 0 {
		return "", unix.EPERM
	}
	return "", nil
}

// takeOwn takes a descriptor of this process as it would one of another's.
func takeOwn(fd int) error {
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("open process: %v", err)
	}
	defer unix.Close(self)
	got, err := unix.PidfdGetfd(self, fd, 0)
	if err == nil {
		unix.Close(got)
	}
	return err
}

// stepMap maps args[0] the way that args[1] names: x, executable at once; rx, for
// reading first; r, for reading only.
func stepMap(args []string) (string, error) {
	fd, err := unix.Open(args[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open file: %v", err)
	}
	prot := unix.PROT_READ
	if args[1] == "x" {
		prot |= unix.PROT_EXEC
	}
	b, err := unix.Mmap(fd, 0, 1, prot, unix.MAP_PRIVATE)
	if err != nil || args[1] != "rx" {
		return "", err
	}
	return "", unix.Mprotect(b, prot|unix.PROT_EXEC)
}

// stepMapAnon makes memory of no file executable, as compilers at run time do.
func stepMapAnon([]string) (string, error) {
	for _, prot := range []int{unix.PROT_READ, unix.PROT_READ | unix.PROT_EXEC} {
		b, err := unix.Mmap(-1, 0, 1, prot, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err == nil {
			err = unix.Mprotect(b, unix.PROT_READ|unix.PROT_EXEC)
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// stepUnshare gives the act program a mount namespace of its own.
func stepUnshare([]string) (string, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return "", err
	}
	return "", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

func stepSetUID(args []string) (string, error) {
	uid, err := strconv.Atoi(args[0])
	if err != nil {
		return "", err
	}
	return "", first(unix.Setresgid(uid, uid, uid), unix.Setresuid(uid, uid, uid))
}

// stepEnter moves the act program into another cgroup.
func stepEnter(args []string) (string, error) {
	return "", os.WriteFile(filepath.Join(args[0], "cgroup.procs"), []byte("0"), 0)
}

// stepFork makes a process that ends at once: system calls only, as the child
// of a program with threads may do nothing else. Repeats args[0] times.
func stepFork(args []string) (string, error) {
	n := 1
	if len(args) > 0 {
		n, _ = strconv.Atoi(args[0])
	}
	for i := range n {
		pid, _, errno := syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0)
		if errno != 0 {
			return strconv.Itoa(i), errno
		}
		if pid == 0 {
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 7, 0, 0)
		}
		if err := waitFor(int(pid)); err != nil {
			return strconv.Itoa(i), fmt.Errorf("wait for child: %v", err)
		}
	}
	return strconv.Itoa(n), nil
}

// stepCrowd makes up to args[0] processes that stay, and reports how many it got.
func stepCrowd(args []string) (string, error) {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return "", err
	}
	var pids []int
	var errno syscall.Errno
	for len(pids) < n && errno == 0 {
		var pid uintptr
		if pid, _, errno = syscall.RawSyscall(syscall.SYS_FORK, 0, 0, 0); errno != 0 {
			break
		}
		if pid == 0 {
			syscall.RawSyscall(syscall.SYS_PAUSE, 0, 0, 0)
			syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 0, 0, 0)
		}
		pids = append(pids, int(pid))
	}
	for _, pid := range pids {
		if err := errors.Join(unix.Kill(pid, unix.SIGKILL), waitFor(pid)); err != nil {
			return "", fmt.Errorf("end child: %v", err)
		}
	}
	if errno != 0 {
		return strconv.Itoa(len(pids)), errno
	}
	return strconv.Itoa(len(pids)), nil
}

func waitFor(pid int) error {
	_, err := unix.Wait4(pid, nil, 0, nil)
	return err
}

// stepSpawn runs a program by vfork and execve, from a thread that is not the
// first one if args[0] is -thread.
func stepSpawn(args []string) (string, error) {
	if args[0] == "-thread" {
		return onThread(func() (string, error) { return stepSpawn(args[1:]) })
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return "", fmt.Errorf("open null device: %v", err)
	}
	p, err := os.StartProcess(args[0], args, &os.ProcAttr{Files: []*os.File{null, os.Stdout, os.Stderr}})
	if err != nil {
		return "", err
	}
	st, err := p.Wait()
	if err != nil {
		return "", err
	}
	return st.String(), nil
}

// stepThread does one other step on a thread that is not the first one.
func stepThread(args []string) (string, error) {
	return onThread(func() (string, error) { return steps()[args[0]](args[1:]) })
}

func onThread(f func() (string, error)) (text string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The first thread is locked to the main goroutine, so this is another.
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			err = fmt.Errorf("this is the first thread")
			return
		}
		text, err = f()
	}()
	<-done
	return text, err
}

// stepExec becomes another program: nothing more is reported if it succeeds.
func stepExec(args []string) (string, error) { return "", unix.Exec(args[0], args, nil) }

// stepEnv is stepExec with an environment: the first argument, one variable a line.
func stepEnv(args []string) (string, error) {
	return "", unix.Exec(args[1], args[1:], strings.Split(args[0], "\n"))
}

// stepBecome becomes the act program args[0], which does the one step that
// the other arguments are.
func stepBecome(args []string) (string, error) {
	return "", unix.Exec(args[0], append([]string{args[0], actFlag}, args[1:]...), []string{"GOMAXPROCS=1"})
}

// stepFexec becomes the program that an open descriptor stands for.
func stepFexec(args []string) (string, error) {
	fd, err := unix.Open(args[0], unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open program: %v", err)
	}
	return "", execveat(fd, args)
}

// stepMemfd becomes a copy of args[0] that is only in memory.
func stepMemfd(args []string) (string, error) {
	b, err := os.ReadFile(args[0])
	if err != nil {
		return "", fmt.Errorf("read program: %v", err)
	}
	fd, err := unix.MemfdCreate("act", unix.MFD_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("make memory file: %v", err)
	}
	if _, err := unix.Write(fd, b); err != nil {
		return "", fmt.Errorf("write memory file: %v", err)
	}
	return "", execveat(fd, args)
}

func execveat(fd int, args []string) error {
	empty, _ := unix.BytePtrFromString("")
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return err
	}
	envp := []*byte{nil}
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(fd), uintptr(unsafe.Pointer(empty)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}

// stepFlip becomes the program args[0] with one more argument, in memory that another
// thread changes all the time between args[1] and args[2], which are equally long.
func stepFlip(args []string) (string, error) {
	name, err := unix.BytePtrFromString(args[0])
	if err != nil {
		return "", err
	}
	text, err := unix.ByteSliceFromString(args[1])
	if err != nil || len(args[1]) != len(args[2]) {
		return "", fmt.Errorf("texts to flip: %q", args[1:])
	}
	argv := []*byte{name, &text[0], nil}
	env := []*byte{nil}
	runtime.GOMAXPROCS(2)
	begun := make(chan bool)
	go func() {
		close(begun)
		for {
			copy(text, args[2])
			copy(text, args[1])
		}
	}()
	<-begun
	_, _, errno := unix.Syscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&env[0])))
	return "", errno
}

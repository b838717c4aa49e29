package harness

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is a small root filesystem in memory with the layout of a Debian. The
// agent and the act programs run in it (chroot), so that a policy about
// /etc/shadow or /usr/sbin/nginx can be tried without touching the machine's.
type Root struct {
	Dir    string
	mounts []string // in the order in which they were mounted
}

// rootDirs are made before anything else; merged ones are links as on Debian.
var (
	rootDirs = []string{
		"dev", "etc", "home", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "usr/bin", "usr/sbin", "usr/lib",
		"usr/lib64", "usr/libexec", "usr/local/bin", "var/lib", "var/log", "var/spool", "var/tmp", "boot",
	}
	rootLinks = map[string]string{"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
	rootNodes = map[string]struct{ major, minor uint32 }{
		"null": {1, 3}, "zero": {1, 5}, "urandom": {1, 9}, "tty": {5, 0}, "mem": {1, 1},
	}
)

// NewRoot makes the filesystem with busybox and all its tools in /usr/bin.
// bind are programs that are shown in it: path in the root -> path outside.
func NewRoot(busybox string, bind map[string]string) (_ *Root, err error) {
	dir, err := os.MkdirTemp("", "root-")
	if err != nil {
		return nil, err
	}
	r := &Root{Dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make root: %w", err), r.Remove())
		}
	}()
	if err := r.mount("tmpfs", "/", "tmpfs", 0, "mode=755"); err != nil {
		return nil, err
	}
	for _, d := range rootDirs {
		if err := os.MkdirAll(r.Path(d), 0o755); err != nil {
			return nil, err
		}
	}
	for name, to := range rootLinks {
		if err := os.Symlink(to, r.Path(name)); err != nil {
			return nil, err
		}
	}
	for _, d := range []string{"tmp", "var/tmp"} {
		if err := os.Chmod(r.Path(d), 0o777|os.ModeSticky); err != nil {
			return nil, err
		}
	}
	if err := r.system(); err != nil {
		return nil, err
	}
	if err := r.Program("/usr/bin/busybox", busybox); err != nil {
		return nil, err
	}
	for name, file := range bind {
		if err := r.file(name, nil, 0o755); err != nil {
			return nil, err
		}
		if err := r.mount(file, name, "", unix.MS_BIND, ""); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// system mounts proc, sys and a device directory of the root's own.
func (r *Root) system() error {
	if err := r.mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	if err := r.mount("/sys", "/sys", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	// Unmounting must not reach the machine's own mounts.
	if err := unix.Mount("", r.Path("/sys"), "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	for name, n := range rootNodes {
		if err := unix.Mknod(r.Path("/dev/"+name), unix.S_IFCHR|0o666, int(unix.Mkdev(n.major, n.minor))); err != nil {
			return fmt.Errorf("make device %s: %w", name, err)
		}
	}
	for _, d := range []string{"/dev/shm", "/dev/pts"} {
		if err := os.Mkdir(r.Path(d), 0o755); err != nil {
			return err
		}
	}
	if err := r.mount("devpts", "/dev/pts", "devpts", 0, "ptmxmode=666"); err != nil {
		return err
	}
	return r.mount("tmpfs", "/dev/shm", "tmpfs", 0, "mode=1777")
}

func (r *Root) mount(source, at, fstype string, flags uintptr, data string) error {
	if err := unix.Mount(source, r.Path(at), fstype, flags, data); err != nil {
		return fmt.Errorf("mount %s at %s: %w", source, at, err)
	}
	r.mounts = append(r.mounts, r.Path(at))
	return nil
}

// Path returns where a path in the root is outside of it.
func (r *Root) Path(name string) string { return filepath.Join(r.Dir, name) }

// file makes a file and the directories above it.
func (r *Root) file(name string, content []byte, perm os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(r.Path(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(r.Path(name), content, perm)
}

// File makes a file with that content.
func (r *Root) File(name string, content []byte) error {
	perm := os.FileMode(0o644)
	if strings.HasPrefix(string(content), "#!") {
		perm = 0o755
	}
	return r.file(name, content, perm)
}

// Program puts a copy of a program at name: a file of its own, so that it has
// an identity of its own.
func (r *Root) Program(name, from string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(r.Path(name)), 0o755); err != nil {
		return err
	}
	_ = os.Remove(r.Path(name)) // it may be a link to busybox
	out, err := os.OpenFile(r.Path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

// Tools links all names that the busybox at that path answers to into
// /opt/tools. Not into /usr/bin: by its links there busybox would be each program
// that a policy names, a package manager too.
func (r *Root) Tools(busybox string) error {
	out, err := exec.Command(r.Path(busybox), "--list").Output()
	if err != nil {
		return fmt.Errorf("list tools of busybox: %w", err)
	}
	if err := os.Mkdir(r.Path("/opt/tools"), 0o755); err != nil {
		return err
	}
	for _, name := range strings.Fields(string(out)) {
		if err := os.Symlink(busybox, r.Path("/opt/tools/"+name)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// Remove takes everything down.
func (r *Root) Remove() error {
	var errs []error
	for i := len(r.mounts) - 1; i >= 0; i-- {
		if err := unix.Unmount(r.mounts[i], unix.MNT_DETACH); err != nil {
			errs = append(errs, fmt.Errorf("unmount %s: %w", r.mounts[i], err))
		}
	}
	// Not recursive: what could not be unmounted is not ours to delete.
	return errors.Join(append(errs, os.Remove(r.Dir))...)
}

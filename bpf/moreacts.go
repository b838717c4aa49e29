package bpf

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// moreActs make each program of a hook run once. There is none for ptrace: it takes
// another process that the agent may attach to, and it need not have one.
var moreActs = map[event.Hook]func() error{event.HookMmap: mapOnce, event.HookCreate: changeOnce, event.HookLink: changeOnce,
	event.HookRename: changeOnce, event.HookUnlink: changeOnce, event.HookTruncate: changeOnce, event.HookReceive: receiveOnce}

// changeOnce does to files of its own what the hooks on changes see.
func changeOnce() error {
	dir, err := os.MkdirTemp("", "bailiff-self-test-")
	if err != nil {
		return err
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	err = os.WriteFile(in("a"), nil, 0o600)
	for _, act := range []func() error{
		func() error { return os.Symlink("a", in("s")) },
		func() error { return os.Link(in("a"), in("b")) },
		func() error { return os.Rename(in("b"), in("c")) },
		func() error { return os.Truncate(in("c"), 0) },
		func() error { return os.Remove(in("c")) },
	} {
		if err == nil {
			err = act()
		}
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// receiveOnce sends itself a file.
func receiveOnce() error {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer f.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("send a file: %w", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := unix.Sendmsg(pair[0], []byte{0}, unix.UnixRights(int(f.Fd())), nil, 0); err != nil {
		return fmt.Errorf("send a file: %w", err)
	}
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(pair[1], make([]byte, 1), control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return fmt.Errorf("receive a file: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) == 0 {
		return err // a rule may refuse it: the program ran
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	for _, fd := range fds {
		unix.Close(fd)
	}
	return err
}

// mapOnce maps a file executable, and makes a mapping of it so.
func mapOnce() error {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer f.Close()
	for _, prot := range []int{unix.PROT_READ | unix.PROT_EXEC, unix.PROT_READ} {
		b, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), prot, unix.MAP_PRIVATE)
		if err != nil {
			return fmt.Errorf("map a file: %w", err)
		}
		if prot&unix.PROT_EXEC == 0 {
			err = unix.Mprotect(b, prot|unix.PROT_EXEC)
		}
		if err = errors.Join(err, unix.Munmap(b)); err != nil {
			return fmt.Errorf("map a file: %w", err)
		}
	}
	return nil
}

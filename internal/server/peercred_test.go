package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPeerIsRootOrOneself: the socket's mode is one lock, this is the other:
// somebody else may have been handed a way to the socket.
func TestPeerIsRootOrOneself(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("connecting as another user needs root")
	}
	l, err := net.Listen("unix", fmt.Sprintf("@bailiff-test-%d", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, c := range []struct {
		peer, self uint32
		admitted   bool
	}{
		{0, 0, true}, {0, 1000, true}, {1000, 1000, true}, {1000, 0, false}, {1001, 1000, false},
	} {
		fd, err := connectAs(l.Addr().String(), c.peer)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_, info, err := peerCredentials{self: c.self}.ServerHandshake(conn)
		if (err == nil) != c.admitted {
			t.Errorf("peer %d, agent %d: %v", c.peer, c.self, err)
		}
		if err == nil && (info.(unixPeer).uid != c.peer || int(info.(unixPeer).pid) != os.Getpid()) {
			t.Errorf("peer %d is seen as %+v", c.peer, info)
		}
		conn.Close()
		unix.Close(fd)
	}
}

// connectAs connects as another user. Only one thread changes its user, and it
// ends with the goroutine that it is locked to.
func connectAs(addr string, uid uint32) (fd int, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			err = errno
			return
		}
		if fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return
		}
		err = errors.Join(unix.Connect(fd, &unix.SockaddrUnix{Name: "@" + strings.TrimPrefix(addr, "@")}))
	}()
	<-done
	return fd, err
}

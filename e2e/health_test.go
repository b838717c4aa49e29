package e2e

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// systemd listens to what a service tells.
type systemd struct {
	path string
	mu   sync.Mutex
	told []string
}

func listenAsSystemd(t *testing.T) *systemd {
	t.Helper()
	s := &systemd{path: filepath.Join(t.TempDir(), "notify")}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: s.path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 4096); ; {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.told = append(s.told, string(b[:n]))
			s.mu.Unlock()
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return s
}

// count is how often something was told.
func (s *systemd) count(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.told {
		if strings.HasPrefix(m, what) {
			n++
		}
	}
	return n
}

// TestNativeHealth breaks one stage after the other and demands that the agent
// says so: in its conditions, to health checks, and to systemd where a restart
// would help; and that it says when it is well again.
func TestNativeHealth(t *testing.T) {
	if inGuest() {
		t.Skip("natively only: nothing of it depends on the kernel")
	}
	backends(t)
	w, spawner := newSpawner(t, 4000)
	disk := w.path("disk")
	w.must(os.Mkdir(disk, 0o755))
	w.must(unix.Mount("none", disk, "tmpfs", 0, "size=64m"))
	t.Cleanup(func() { _ = unix.Unmount(disk, unix.MNT_DETACH) })
	s := listenAsSystemd(t)
	t.Setenv("NOTIFY_SOCKET", s.path)
	t.Setenv("WATCHDOG_USEC", "3000000")

	w.start(event.ModeAudit, "--canary-every", "1s", "--canary-within", "1s",
		"--spool", filepath.Join(disk, "spool"), "--spool-max-bytes", "1048576", "--spool-min-free", "33554432")
	raised := func(code string) bool {
		st, err := w.agent.Status(w.wait())
		w.must(err)
		for _, c := range st.Conditions {
			if c.Code == code {
				return true
			}
		}
		return false
	}
	serving := func(service string) bool {
		yes, err := w.agent.Serving(w.wait(), service)
		w.must(err)
		return yes
	}
	well := func() bool {
		return !raised("canary-unseen") && !raised("canary-undelivered") && serving("") && serving("bailiff.v1.AgentService") && serving("bailiff.v1.EventService")
	}
	eventually(t, "a canary has come through", func() bool {
		st, err := w.agent.Status(w.wait())
		w.must(err)
		return st.Canary.Stage == "done" && st.Canary.Seen > 0 && st.Canary.Streamed >= st.Canary.Seen
	})
	eventually(t, "the agent is well", well)
	eventually(t, "systemd knows", func() bool { return s.count("READY=1") == 1 && s.count("WATCHDOG=1") > 0 })

	// The ring: somebody else takes what is in it.
	thief := stealEvents(t)
	eventually(t, "canary-unseen", func() bool { return raised("canary-unseen") })
	eventually(t, "not serving", func() bool {
		return !serving("") && !serving("bailiff.v1.AgentService") && !serving("bailiff.v1.EventService")
	})
	eventually(t, "systemd hears nothing", func() bool {
		before := s.count("WATCHDOG=1")
		<-time.After(2500 * time.Millisecond) // the absence of something has no event to wait for
		return s.count("WATCHDOG=1") == before
	})
	thief.stop()
	eventually(t, "the agent is well again", well)

	// The disk: full. Acts are judged all the same, and a restart would not help.
	filler := filepath.Join(disk, "filler")
	w.must(os.WriteFile(filler, make([]byte, 40<<20), 0o600))
	_, err := w.actor().Exec(spawner) // more events than the open file has room for
	w.must(err)
	eventually(t, "canary-undelivered", func() bool { return raised("canary-undelivered") && raised("spool-failing") })
	eventually(t, "the whole and the events are not well, the judgement is", func() bool {
		return !serving("") && !serving("bailiff.v1.EventService") && serving("bailiff.v1.AgentService")
	})
	fed := s.count("WATCHDOG=1")
	eventually(t, "systemd is told that the agent lives", func() bool { return s.count("WATCHDOG=1") > fed })
	w.must(os.Remove(filler))
	eventually(t, "the agent is well again", well)
	w.stopOnly()
	if s.count("STOPPING=1") != 1 || s.count("STATUS=") == 0 {
		t.Errorf("systemd was told %q", s.told)
	}
}

// thief empties the agent's ring buffer, as anybody with CAP_BPF can.
type thief struct {
	end, done chan struct{}
	once      sync.Once
}

// stealEvents finds the newest ring buffer that is called events.
func stealEvents(t *testing.T) *thief {
	t.Helper()
	fd := -1
	for _, o := range kernelObjects(t) {
		if o.kind != unix.BPF_MAP_GET_NEXT_ID {
			continue
		}
		id := struct{ id, next, flags uint32 }{id: o.id}
		f, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_GET_FD_BY_ID, uintptr(unsafe.Pointer(&id)), unsafe.Sizeof(id))
		if errno != 0 {
			continue
		}
		// The beginning of struct bpf_map_info.
		var info struct {
			kind, id, key, value, max, flags uint32
			name                             [16]byte
			_                                [64]byte
		}
		attr := struct {
			fd, len uint32
			info    uint64
		}{uint32(f), uint32(unsafe.Sizeof(info)), uint64(uintptr(unsafe.Pointer(&info)))}
		_, _, errno = unix.Syscall(unix.SYS_BPF, unix.BPF_OBJ_GET_INFO_BY_FD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		if errno == 0 && info.kind == unix.BPF_MAP_TYPE_RINGBUF && strings.TrimRight(string(info.name[:]), "\x00") == "events" {
			if fd >= 0 {
				unix.Close(fd)
			}
			fd = int(f)
			continue
		}
		unix.Close(int(f))
	}
	if fd < 0 {
		t.Fatal("no ring buffer found")
	}
	page := os.Getpagesize()
	mine, err := unix.Mmap(fd, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := unix.Mmap(fd, int64(page), page, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	consumed, produced := (*uint64)(unsafe.Pointer(&mine[0])), (*uint64)(unsafe.Pointer(&theirs[0]))
	th := &thief{end: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(th.done)
		defer func() { _, _, _ = unix.Munmap(mine), unix.Munmap(theirs), unix.Close(fd) }()
		for {
			select {
			case <-th.end:
				return
			default:
				atomic.StoreUint64(consumed, atomic.LoadUint64(produced))
			}
		}
	}()
	t.Cleanup(th.stop)
	return th
}

func (th *thief) stop() {
	th.once.Do(func() { close(th.end) })
	<-th.done
}

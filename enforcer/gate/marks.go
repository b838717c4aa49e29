package gate

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// marks are on filesystems, not on mounts: a bind mount, another mount
// namespace or a detached mount of a marked filesystem is no way around.
type marks struct {
	near, far int                  // fanotify groups
	isFar     func(fs string) bool // where the far one is asked for
	isNever   func(fs string) bool // and where none is
	only      []string
	tell      func(why string)
	log       hclog.Logger

	mu   sync.Mutex
	on   bool
	have map[string]bool // by device, as mountinfo writes it
	why  string          // what could not be marked, as told
}

// noPrograms are filesystems that hold no program of their own. autofs is here
// because looking at it would mount what is not there yet.
var noPrograms = []string{"proc", "sysfs", "cgroup", "cgroup2", "devpts", "devtmpfs", "securityfs", "debugfs", "tracefs", "bpf", "pstore",
	"configfs", "mqueue", "hugetlbfs", "fusectl", "efivarfs", "binfmt_misc", "nsfs", "rpc_pipefs", "selinuxfs", "autofs", "nfsd"}

// isServed: of these a process of the machine's own users may be the server (FUSE). To
// read a question about a file the kernel opens it for us, and the server may never
// answer that: nobody would read the next question. The exec hook knows of no answer
// for such a file, and does what the rule says.
func isServed(fs string) bool {
	return fs == "fuse" || fs == "fuseblk" || strings.HasPrefix(fs, "fuse.")
}

// remote are filesystems of which another machine has the files, and may not answer.
var remote = []string{"nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "coda", "lustre", "gfs2", "ocfs2", "virtiofs"}

func isRemote(fs string) bool { return slices.Contains(remote, fs) }

const execPerm = unix.FAN_OPEN_EXEC_PERM

func (m *marks) hold(on bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if on == m.on {
		return nil
	}
	if !on {
		m.on, m.have = false, nil
		for _, fd := range []int{m.near, m.far} {
			if err := unix.FanotifyMark(fd, unix.FAN_MARK_FLUSH|unix.FAN_MARK_FILESYSTEM, 0, unix.AT_FDCWD, ""); err != nil {
				return fmt.Errorf("take marks away: %w", err)
			}
		}
		return nil
	}
	m.on = true
	return m.look()
}

// look marks what is mounted and not marked yet. m.mu is held.
func (m *marks) look() error {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	defer f.Close()
	mounts, err := candidates(f, m.only, m.isNever)
	if err != nil {
		return fmt.Errorf("read mounts: %w", err)
	}
	have := map[string]bool{}
	var failed []string
	for _, c := range mounts {
		if m.have[c.dev] || have[c.dev] {
			have[c.dev] = true
			continue
		}
		fd := m.near
		if m.isFar(c.fs) {
			fd = m.far
		}
		err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_FILESYSTEM, execPerm, unix.AT_FDCWD, c.at)
		if err != nil {
			failed = append(failed, fmt.Sprintf("%s (%s): %v", c.at, c.fs, err))
			continue
		}
		have[c.dev] = true
	}
	m.have = have
	why := strings.Join(failed, "; ")
	if why != m.why && m.tell != nil {
		m.tell(why)
	}
	m.why = why
	return nil
}

// candidate is a mount that may hold programs.
type candidate struct{ dev, at, fs string }

// candidates reads mountinfo; with only, nothing but those mount points.
func candidates(r io.Reader, only []string, never func(fs string) bool) ([]candidate, error) {
	var out []candidate
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 1<<16), 1<<20)
	for sc.Scan() {
		left, right, ok := strings.Cut(sc.Text(), " - ")
		f := strings.Fields(left)
		fs, _, _ := strings.Cut(right, " ")
		if !ok || len(f) < 5 {
			continue
		}
		c := candidate{dev: f[2], at: unescape(f[4]), fs: fs}
		if slices.Contains(noPrograms, fs) || never(fs) || len(only) > 0 && !slices.Contains(only, c.at) {
			continue
		}
		out = append(out, c)
	}
	return out, sc.Err()
}

// unescape undoes the octal escapes of mountinfo.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace

// follow marks what is mounted later, until stop is set.
func (m *marks) follow(stop *event) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		m.log.Error("gate does not follow new mounts", "error", err)
		return
	}
	defer f.Close()
	fds := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLPRI}, {Fd: int32(stop.fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && !errors.Is(err, unix.EINTR) {
			m.log.Error("gate does not follow new mounts", "error", err)
			return
		}
		if fds[1].Revents != 0 {
			return
		}
		if fds[0].Revents == 0 {
			continue
		}
		fds[0].Revents = 0
		m.mu.Lock()
		if m.on {
			start := time.Now()
			if err := m.look(); err != nil {
				m.log.Error("gate cannot follow new mounts", "error", err)
			}
			m.log.Debug("gate looked at the mounts", "filesystems", len(m.have), "took", time.Since(start).String())
		}
		m.mu.Unlock()
	}
}

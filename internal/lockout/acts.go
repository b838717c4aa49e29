package lockout

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"example.com/bailiff/internal/event"
)

// Where the acts take place: cgroups as systemd lays them out. A policy or a
// mode that is limited to other cgroups does not concern them.
const (
	cgroupInit    = "/init.scope"
	cgroupAgent   = "/system.slice/bailiff.service"
	cgroupService = "/system.slice/ssh.service"
	cgroupSession = "/user.slice/user-0.slice/session-1.scope"
)

const (
	allCaps   = 1<<41 - 1
	unsetUID  = 1<<32 - 1
	ttyNumber = 34816 // pts/0
)

// Acts lists what must stay possible on this machine: only programs and files
// that are there. agent is the agent's own program.
func Acts(agent string) []Act { return acts(newHost(""), agent, initProgram()) }

// initProgram is what pid 1 runs.
func initProgram() string {
	if p, err := os.Readlink("/proc/1/exe"); err == nil {
		return p
	}
	return "/sbin/init"
}

type builder struct {
	*host
	acts []Act
}

func acts(h *host, agent, initProg string) []Act {
	b := &builder{host: h}
	boot := h.first(initProg, "/sbin/init")
	own := h.file(agent)
	shell := h.rootShell()
	logins := h.all("/usr/sbin/sshd", "/usr/lib/openssh/sshd-session", "/usr/libexec/openssh/sshd-session", "/bin/login", "/usr/bin/su", "/usr/bin/sudo", "/sbin/agetty", "/sbin/getty")
	libs := []string{"/etc/ld.so.cache", "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/lib/aarch64-linux-gnu/libc.so.6"}

	b.init(boot, own, shell, logins, libs)
	b.agent(own, boot, libs)
	b.login(boot, shell, own, logins, libs)
	b.packages(shell, logins)
	return b.acts
}

// chain is who acts: the program and those above it, nearest first.
type chain struct {
	cgroup string
	tty    uint32
	login  uint32
	progs  []*event.File
}

func (c chain) process() event.Process {
	p := event.Process{PID: 4242, TID: 4242, PPID: 4241, LoginUID: c.login, TTY: c.tty, CapEff: allCaps, Cgroup: c.cgroup, Start: 1}
	if len(c.progs) > 0 && c.progs[0] != nil {
		p.Exe, p.Comm = *c.progs[0], filepath.Base(c.progs[0].Path)
	}
	for _, f := range c.progs[1:] {
		if f == nil {
			continue
		}
		if p.Parent.Path == "" {
			p.Parent = *f
		}
		p.Ancestry = append(p.Ancestry, f.Path)
	}
	return p
}

func (b *builder) exec(who string, c chain, prog *event.File, args ...string) {
	if prog == nil || c.progs[0] == nil {
		return
	}
	if len(args) == 0 {
		args = []string{prog.Path}
	}
	b.acts = append(b.acts, Act{who, &event.Event{Hook: event.HookExec, Process: c.process(), File: prog,
		Exec: &event.Exec{Args: args, Env: map[string]string{}, Cwd: "/root", OpenedAs: prog.Path, Comm: filepath.Base(prog.Path)}}})
}

func (b *builder) open(who string, c chain, path string, how ...string) {
	f := b.file(path)
	if f == nil || c.progs[0] == nil {
		return
	}
	b.acts = append(b.acts, Act{who, &event.Event{Hook: event.HookOpen, Process: c.process(), File: f, Open: how}})
}

func (b *builder) fork(who string, c chain) {
	if c.progs[0] == nil {
		return
	}
	b.acts = append(b.acts, Act{who, &event.Event{Hook: event.HookFork, Process: c.process(), Fork: &event.Fork{PID: 4243}, CgroupProcs: 8}})
}

// init starts services and is able to start itself anew.
func (b *builder) init(boot, own, shell *event.File, logins []*event.File, libs []string) {
	const who = "init"
	c := chain{cgroup: cgroupInit, login: unsetUID, progs: []*event.File{boot}}
	b.fork(who, c)
	b.exec(who, c, boot)
	b.exec(who, c, own, "bailiff", "run")
	b.exec(who, c, shell)
	b.exec(who, c, b.first("/bin/sh"), "sh", "-c", "exit 0")
	for _, l := range logins {
		if l.Mode&0o4000 == 0 { // su and sudo are not init's to start
			b.exec(who, c, l)
		}
	}
	for _, path := range with(libs, "/etc/passwd", "/etc/fstab", "/etc/hostname") {
		b.open(who, c, path, "read")
	}
}

// agent reads its policy and puts it in force.
func (b *builder) agent(own, boot *event.File, libs []string) {
	const who = "the agent"
	c := chain{cgroup: cgroupAgent, login: unsetUID, progs: []*event.File{own, boot}}
	b.fork(who, c)
	b.exec(who, c, own, "bailiff", "run")
	for _, path := range with(libs, "/sys/kernel/btf/vmlinux", "/etc/bailiff", "/proc/self/mountinfo", "/sys/fs/cgroup") {
		b.open(who, c, path, "read")
	}
}

// login is how root gets a shell, and what root needs there to mend things.
func (b *builder) login(boot, shell, own *event.File, logins []*event.File, libs []string) {
	const who = "root's login"
	for _, l := range logins {
		c := chain{cgroup: cgroupService, login: unsetUID, progs: []*event.File{l, boot}}
		b.fork(who, c)
		for _, path := range with(libs, "/etc/passwd", "/etc/group", "/etc/nsswitch.conf") {
			b.open(who, c, path, "read")
		}
		if name := filepath.Base(l.Path); !strings.HasSuffix(name, "getty") { // a getty starts login for that
			for _, path := range []string{"/etc/shadow", "/etc/pam.d/" + name, "/etc/ssh/sshd_config"} {
				b.open(who, c, path, "read")
			}
		}
		c.cgroup, c.login = cgroupSession, 0
		b.exec(who, c, shell, "-"+filepath.Base(nameOf(shell)))
	}
	if len(logins) == 0 && boot != nil {
		b.exec(who, chain{cgroup: cgroupSession, progs: []*event.File{boot}}, shell)
	}
	c := chain{cgroup: cgroupSession, tty: ttyNumber, progs: shellUnder(shell, logins, boot)}
	b.fork(who, c)
	for _, path := range with(libs, "/etc/profile", "/root/.bashrc", "/root/.profile", "/etc/passwd", "/dev/null") {
		b.open(who, c, path, "read")
	}
	b.exec(who, c, own, "bailiff", "mode", "audit")
	for _, tool := range []string{"/bin/ls", "/bin/cat", "/bin/kill", "/usr/bin/systemctl", "/sbin/reboot"} {
		b.exec(who, c, b.file(tool))
	}
}

// with leaves list as it is.
func with(list []string, more ...string) []string { return append(slices.Clip(list), more...) }

func nameOf(f *event.File) string {
	if f == nil {
		return ""
	}
	return f.Path
}

func shellUnder(shell *event.File, logins []*event.File, boot *event.File) []*event.File {
	out := []*event.File{shell}
	if len(logins) > 0 {
		out = append(out, logins[0])
	}
	return append(out, boot)
}

// packages is the package manager, started from root's shell: it writes where
// programs are, and runs scripts.
func (b *builder) packages(shell *event.File, logins []*event.File) {
	const who = "the package manager"
	root := chain{cgroup: cgroupSession, tty: ttyNumber, progs: shellUnder(shell, logins, nil)}
	tool := func(path string, starts []string, writes ...string) {
		f := b.file(path)
		if f == nil {
			return
		}
		b.exec(who, root, f)
		c := root
		c.progs = append([]*event.File{f}, root.progs...)
		b.fork(who, c)
		for _, s := range starts {
			b.exec(who, c, b.file(s))
		}
		for _, w := range writes {
			b.open(who, c, w, "read", "write")
		}
	}
	bins := []string{"/usr/bin/env", "/usr/sbin/chroot", "/usr/bin/passwd"} // what it would replace
	tool("/usr/bin/apt-get", []string{"/usr/bin/dpkg", "/usr/lib/apt/methods/http", "/bin/sh"}, "/var/lib/dpkg/lock", "/etc/apt/sources.list")
	tool("/usr/bin/apt", []string{"/usr/bin/dpkg", "/usr/lib/apt/methods/http", "/bin/sh"}, "/var/lib/dpkg/lock")
	tool("/usr/bin/dpkg", []string{"/usr/bin/dpkg-deb", "/bin/sh", "/usr/bin/tar", "/sbin/ldconfig"}, with(bins, "/var/lib/dpkg/status")...)
	for _, rpm := range []string{"/usr/bin/dnf", "/usr/bin/yum", "/usr/bin/rpm", "/usr/bin/zypper"} {
		tool(rpm, []string{"/usr/bin/rpm", "/bin/sh"}, bins...)
	}
	tool("/sbin/apk", []string{"/bin/sh"}, bins...)
	tool("/usr/bin/pacman", []string{"/bin/sh"}, bins...)
}

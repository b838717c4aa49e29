package event

import (
	"fmt"
	"strconv"
	"time"
)

// ExecID names one process image within a boot: a process gets one when it is
// forked and a new one at each exec. It is never reused within a boot, unlike
// a pid. Zero means unknown.
type ExecID uint64

func (id ExecID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// MarshalText writes it as String does: a JSON number of 64 bits would be
// rounded by most readers.
func (id ExecID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the inverse of MarshalText.
func (id *ExecID) UnmarshalText(b []byte) error {
	n, err := strconv.ParseUint(string(b), 16, 64)
	if err != nil {
		return fmt.Errorf("parse exec id: %w", err)
	}
	*id = ExecID(n)
	return nil
}

// FileID is the identity of an inode. Dev is the kernel's s_dev
// (major<<20 | minor), not stat's encoding; Gen is i_generation, which tells a
// reused inode number from the file that had it before.
type FileID struct {
	Dev uint32 `json:"dev"`
	Gen uint32 `json:"gen"`
	Ino uint64 `json:"ino"`
}

// File is a file as the kernel saw it, resolved by identity.
type File struct {
	ID FileID `json:"id"`
	// Path is the canonical path: the policy's own name where the policy
	// names this object, else the path from the root of its filesystem,
	// placed where that filesystem is mounted in the agent's mount
	// namespace. A file that cannot be reached from there (memfd, private
	// mount) has "[major:minor]/rest", which never begins with "/".
	Path string `json:"path"`
	// Names lists every canonical name, Path first. Usually there is one.
	Names []string `json:"names,omitempty"`
	// At is where the file was found, placed as Path is, if that is none of its
	// names: another hard link of a file that the policy names, or where it was
	// moved to.
	At string `json:"at,omitempty"`
	// Unresolved says that the path was too deep or too long; Path is then
	// the part that is known and no rule may trust it.
	Unresolved bool `json:"unresolved,omitempty"`

	Mode    uint32   `json:"mode"` // st_mode: type, set-id and permission bits
	UID     uint32   `json:"uid"`  // owner, initial user namespace
	GID     uint32   `json:"gid"`  // group, initial user namespace
	Nlink   uint32   `json:"nlink"`
	FsMagic uint64   `json:"fs_magic"` // s_magic of the superblock
	FsType  string   `json:"fs_type"`  // as in /proc/filesystems
	DirMode uint32   `json:"dir_mode"` // st_mode of the directory it was found in
	DirUID  uint32   `json:"dir_uid"`  // owner of that directory
	Traits  []string `json:"traits,omitempty"`
	// Identities are the names that the policy gives this file in data.bailiff.identities, sorted.
	Identities []string `json:"identities,omitempty"`
	// SHA256 of the content, lower-case hex, as kernel or gate judged it; "" if no rule
	// asked for it or it could not be had.
	SHA256 string `json:"sha256,omitempty"`
	// Verity is the fs-verity digest as `fsverity measure` prints it (sha256: or
	// sha512:, and lower-case hex), NoVerity of a file that has none; "" if no rule
	// asked for it or nobody could say.
	Verity string `json:"verity,omitempty"`
}

// NoVerity is File.Verity of a file that is known to have no fs-verity digest:
// input.file.verity is "" then.
const NoVerity = "none"

// VerityDigest returns input.file.verity, and whether that is known.
func (f *File) VerityDigest() (digest string, known bool) {
	if f.Verity == NoVerity {
		return "", true
	}
	return f.Verity, f.Verity != ""
}

// Process is one process image. Pids are tgids of the initial pid namespace.
type Process struct {
	PID      int32    `json:"pid"` // thread group id
	TID      int32    `json:"tid"` // acting thread
	PPID     int32    `json:"ppid"`
	ExecID   ExecID   `json:"exec_id"`
	ParentID ExecID   `json:"parent_exec_id"`
	Exe      File     `json:"exe"`        // taken at exec; never from comm or /proc
	Parent   File     `json:"parent_exe"` // the parent's Exe; only ID, Path and Names are set
	Ancestry []string `json:"ancestors"`  // distinct exe paths above the process, nearest first: all names of a program
	// AncestorNames are the names of each program above, nearest first, if one has
	// several; else each path in Ancestry is a program.
	AncestorNames [][]string `json:"ancestor_names,omitempty"`
	// AncestorsCut: there may be programs farther above that are not in the list.
	AncestorsCut bool `json:"ancestors_truncated,omitempty"`
	// Shell is the first name of the shell that the process is, or else of the nearest
	// one above it; "" if there is none.
	Shell    string   `json:"shell,omitempty"`
	Comm     string   `json:"comm"` // writable by the process itself
	UID      uint32   `json:"uid"`  // ids are those of the initial user namespace
	EUID     uint32   `json:"euid"`
	GID      uint32   `json:"gid"`
	EGID     uint32   `json:"egid"`
	LoginUID uint32   `json:"loginuid"` // 4294967295 means unset
	CapEff   uint64   `json:"cap_effective"`
	CgroupID uint64   `json:"cgroup_id"` // cgroup v2: inode of its directory
	Cgroup   string   `json:"cgroup"`    // its path below the cgroup2 mount; "" if not known
	MntNS    uint32   `json:"mnt_ns"`
	PidNS    uint32   `json:"pid_ns"`
	UserNS   uint32   `json:"user_ns"`
	TTY      uint32   `json:"tty"`              // tty_nr as in /proc/pid/stat; 0 means none
	Start    uint64   `json:"start_boot"`       // nanoseconds after boot
	Traits   []string `json:"traits,omitempty"` // see ProcessTraits
	Stdio    []string `json:"stdio,omitempty"`  // exec: see Stdio
}

// Exec is what only a successful exec has: the texts of it written by the caller.
type Exec struct {
	ExecID    ExecID            `json:"exec_id"` // of the new image
	Args      []string          `json:"args"`
	ArgsTotal uint32            `json:"args_bytes"` // bytes that argv takes; more than Args holds if cut
	ArgsCut   bool              `json:"args_truncated,omitempty"`
	Env       map[string]string `json:"env,omitempty"` // only the selected names
	EnvCut    bool              `json:"env_truncated,omitempty"`
	// EnvAgain are names that occur more than once; Env has the first value. The
	// C library takes that, the dynamic linker the last.
	EnvAgain []string `json:"env_again,omitempty"`
	Cwd      string   `json:"cwd"`
	OpenedAs string   `json:"opened_as"`        // the string given to execve
	Script   string   `json:"script,omitempty"` // canonical path, when File is its interpreter
	// Interpreter is what runs, when File is a script: the verdict was about the script.
	Interpreter string `json:"interpreter,omitempty"`
	Comm        string `json:"comm"`
	// Creds are those of the new image, if they are not the caller's: a set-id
	// program, or one with capabilities. nil where no hook saw the caller's.
	Creds *Creds `json:"creds,omitempty"`
}

// Creds is what an exec can change of the credentials.
type Creds struct {
	EUID   uint32 `json:"euid"` // ids are those of the initial user namespace
	EGID   uint32 `json:"egid"`
	CapEff uint64 `json:"cap_effective"`
}

// Fork is the new process of a fork.
type Fork struct {
	PID    int32  `json:"pid"` // thread group id; 0 when the fork was refused
	ExecID ExecID `json:"exec_id"`
	Flags  uint64 `json:"flags"` // clone flags
}

// Target is the process that another one attaches to; File is its program.
type Target struct {
	PID    int32    `json:"pid"`              // thread group id, initial pid namespace
	ExecID ExecID   `json:"exec_id"`          // 0: the agent does not know it
	Traits []string `json:"traits,omitempty"` // see TargetTraits
}

// Exit is how a process ended.
type Exit struct {
	Code   uint8 `json:"code"`   // exit status
	Signal uint8 `json:"signal"` // 0 if it ended by itself
	Core   bool  `json:"core,omitempty"`
}

// Event is one act, or one thing that the agent itself has to tell.
// Exactly one of the pointers that its Hook asks for is set; File is set for
// exec and open.
type Event struct {
	Seq     uint64    `json:"seq"`  // per agent run, given by the enforcer; acts of which the kernel could not tell have one, too
	Time    time.Time `json:"time"` // wall clock, derived from Boot
	Boot    uint64    `json:"boot"` // nanoseconds after boot, when the kernel saw it
	Hook    Hook      `json:"hook"`
	Process Process   `json:"process"` // who acts: the image before an exec
	File    *File     `json:"file,omitempty"`
	Exec    *Exec     `json:"exec,omitempty"`
	Fork    *Fork     `json:"fork,omitempty"`
	Exit    *Exit     `json:"exit,omitempty"`
	Target  *Target   `json:"target,omitempty"`
	Open    []string  `json:"open,omitempty"` // how it was opened: see OpenFlags
	// CgroupProcs is the number of processes in the subject's cgroup as the
	// kernel side counts them, the new one not included.
	CgroupProcs uint64 `json:"cgroup_processes,omitempty"`
	// CgroupRate is how many acts of this hook, a fork or an exec, the subject's
	// cgroup saw within the last second; 0 while no rule reads it.
	CgroupRate uint64 `json:"cgroup_rate,omitempty"`
	// FileAge is how many seconds ago File was changed.
	FileAge  uint64   `json:"file_age,omitempty"`
	Decision Decision `json:"decision"`
	Agent    *Notice  `json:"agent,omitempty"` // set on records about the agent, Hook is none
	// Redacted lists the fields in which a secret was hidden, as paths
	// ("exec.args"), sorted.
	Redacted []string `json:"redacted,omitempty"`
	// Rebound says that the files and programs of this event may have had other
	// names when the kernel decided: the policy's paths were tied to files anew.
	Rebound bool `json:"-"`
	// Handle is the kernel side's own note on an undecided act; it hands it
	// back to Kernel.Remember. Nobody else reads it.
	Handle any `json:"-"`
}

// Decision is verdict, effect and source, with what they rest on.
type Decision struct {
	Verdict    Verdict   `json:"verdict"`
	Effect     Effect    `json:"effect"`
	Source     Source    `json:"source"`
	Mode       Mode      `json:"mode"`              // that held for this act
	ModeBy     ModeBy    `json:"mode_by,omitempty"` // who said so; none: it is the mode for all
	Rule       *RuleRef  `json:"rule,omitempty"`    // the rule that decided
	Others     []RuleRef `json:"others,omitempty"`
	Message    string    `json:"message,omitempty"`
	Revision   string    `json:"revision,omitempty"`
	Generation uint32    `json:"generation,omitempty"`
	Late       bool      `json:"late,omitempty"`       // decided after the act
	Undecided  bool      `json:"undecided,omitempty"`  // a deferred rule had no verdict at the time of the act
	FailOpen   string    `json:"fail_open,omitempty"`  // why an act passed though it could not be judged
	Divergence bool      `json:"divergence,omitempty"` // OPA disagrees with the kernel
	// Commit: decided when the new image of an exec was in place, before its
	// first instruction. One that was killed has run none.
	Commit bool `json:"commit,omitempty"`
}

// WouldDeny reports a deny verdict that was not acted upon because of the mode.
func (d Decision) WouldDeny() bool { return d.Verdict == VerdictDeny && d.Effect == EffectNone }

// RuleRef names a rule for people and machines.
type RuleRef struct {
	ID       string   `json:"id"`      // annotation custom.id, else package.rule@file:line
	Path     string   `json:"package"` // bailiff.exec.deny
	File     string   `json:"file"`    // within the bundle
	Line     int      `json:"line"`    // of the rule head
	Title    string   `json:"title,omitempty"`
	Severity string   `json:"severity,omitempty"`
	Attack   []string `json:"attack,omitempty"` // ATT&CK technique ids
}

// Notice is a record about the agent itself: start, stop, policy and mode
// changes, conditions, drops. Code is stable, Text is for people.
type Notice struct {
	Code   string            `json:"code"`
	Text   string            `json:"text"`
	Fields map[string]string `json:"fields,omitempty"`
}

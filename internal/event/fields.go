package event

import "slices"

// Kind is the type of an input field.
type Kind uint8

const (
	KindString Kind = iota // any string
	KindPath               // a canonical path; the kernel judges it by identity
	KindInt                // a number in [0, 2^63)
	KindFlags              // a list out of the closed set Field.Bits, a bit mask in the kernel
	KindPaths              // a list of canonical paths
	KindList               // a list of strings
	KindMap                // an object of strings
	KindNames              // a list out of the names that the policy gives in data.bailiff.identities
	KindEnum               // one of Field.Bits, its index in the kernel
	KindDigest             // a digest in lower-case hex, or ""; a class of digests in the kernel
)

// Trust says who can write a field's value.
type Trust uint8

const (
	TrustKernel  Trust = iota // given by the kernel
	TrustProcess              // the process itself can write anything there
)

// Part says which part of a decision a field belongs to.
type Part uint8

const (
	PartUser    Part = iota // only user space has it
	PartSubject             // known for a process; changes at exec, fork, setuid
	PartObject              // known for the act
	PartCommit              // known when the new image is in place, before its first instruction
)

// FieldID numbers the fields that the kernel holds; 0 is not a field. The
// numbers go into kernel tables: bpf/fields.h is generated from this table.
type FieldID uint8

// The fields of kernel tables.
const (
	FieldNone FieldID = iota
	FieldExePath
	FieldExeName
	FieldParentPath
	FieldParentName
	FieldAncestors
	FieldUID
	FieldEUID
	FieldGID
	FieldEGID
	FieldLoginUID
	FieldCaps
	FieldCgroupID
	FieldMntNS
	FieldPidNS
	FieldUserNS
	FieldTTY
	FieldPath
	FieldName
	FieldMode
	FieldOwner
	FieldGroup
	FieldNlink
	FieldFsMagic
	FieldTraits
	FieldDirMode
	FieldDirUID
	FieldOpenFlags
	FieldCloneFlags
	FieldCgroupProcs
	FieldStdio
	FieldProcessTraits
	FieldIdentities
	FieldForkRate
	FieldExecRate
	FieldFileAge
	FieldHook
	FieldTargetTraits
	FieldArgs
	FieldEnv
	FieldSHA256
	FieldVerity
	FieldShell
	NumFields
)

// Field describes one field of the input document. The table below is the
// only place where fields are listed: the JSON Schema, the document builder,
// the kernel key and docs/input.md come from it.
type Field struct {
	Path  string  // below input, dots between
	Kind  Kind    // type in Rego
	ID    FieldID // FieldNone: the kernel does not hold it
	Part  Part
	Trust Trust
	Hooks []Hook   // where it can be other than zero
	Bits  []string // KindFlags: names of bits 0, 1, ...; KindEnum: names of 0, 1, ...
	Doc   string   // one sentence: meaning, unit
}

// In reports whether the rules of a package can find the field other than zero.
func (f Field) In(h Hook) bool {
	return slices.ContainsFunc(f.Hooks, func(o Hook) bool { return o.Package() == h })
}

// NotAtGate lists the fields that are not known when an exec is held at the gate:
// only the hook reads them.
var NotAtGate = []string{"process.cgroup.execs_per_second"}

// OnlyAtGate lists the fields that are known only while an exec is held, unless
// the kernel has them: digests of the file.
var OnlyAtGate = []string{"file.sha256", "file.verity"}

// Digests are the same by number.
var Digests = []FieldID{FieldSHA256, FieldVerity}

// OpenFlags are the bits of input.open.flags.
var OpenFlags = []string{"read", "write", "append", "create", "truncate", "exclusive", "directory"}

// Traits are the bits of input.file.traits.
var Traits = []string{"memory_backed", "unlinked", "setuid", "setgid", "world_writable", "dir_world_writable", "overlay_upper"}

// ProcessTraits are the bits of input.process.traits.
var ProcessTraits = []string{"container", "own_mnt_ns", "own_pid_ns", "own_user_ns"}

// TargetTraits are the bits of input.target.traits.
var TargetTraits = []string{"descendant", "other_user", "other_mnt_ns"}

// Stdio are the bits of input.process.stdio.
var Stdio = []string{"stdin_socket", "stdout_socket", "stderr_socket", "stdin_network", "stdout_network", "stderr_network"}

// Capabilities are the bits of input.process.caps, as in linux/capability.h.
var Capabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

var (
	all      = append(withFile, HookFork)
	onExec   = []Hook{HookExec}
	onFork   = []Hook{HookFork}
	onOpen   = slices.DeleteFunc(HookOpen.Hooks(), func(h Hook) bool { return !h.HasOpenFlags() })
	onPtrace = []Hook{HookPtrace}
	withFile = append(HookExec.Hooks(), HookOpen.Hooks()...)
)

// Fields is the input document: total, the same for every hook, zero value
// where a field does not apply.
var Fields = []Field{
	{"hook", KindEnum, FieldHook, PartObject, TrustKernel, all, hookNames, "What is judged. In bailiff.exec: exec, or mmap, when a file is mapped executable. In bailiff.open: open, or create, link, rename, unlink, truncate, when a file or its name is changed without an open, receive, when an open file is taken from another process, and ptrace, when a process is attached to."},

	{"process.pid", KindInt, FieldNone, PartUser, TrustKernel, all, nil, "Thread group id of the acting process, initial pid namespace."},
	{"process.exe.path", KindPath, FieldExePath, PartSubject, TrustKernel, all, nil, "Canonical path of the program that acts, taken at its exec."},
	{"process.exe.name", KindString, FieldExeName, PartSubject, TrustKernel, all, nil, "Last component of process.exe.path."},
	{"process.parent.exe.path", KindPath, FieldParentPath, PartSubject, TrustKernel, all, nil, "Canonical path of the program that the parent ran when this process was forked."},
	{"process.parent.exe.name", KindString, FieldParentName, PartSubject, TrustKernel, all, nil, "Last component of process.parent.exe.path."},
	{"process.ancestors", KindPaths, FieldAncestors, PartSubject, TrustKernel, all, nil, "Canonical paths of the programs above this process, nearest first, each once; all names of one that has several. Kept by Bailiff: a parent that exits stays in it."},
	{"process.shell", KindPath, FieldShell, PartSubject, TrustKernel, all, nil, "Canonical path of the shell that the process is, or else of the nearest one above it; \"\" if there is none. Which programs are shells says data.bailiff.shells."},
	{"process.comm", KindString, FieldNone, PartUser, TrustProcess, all, nil, "Thread name. The process can write anything here."},
	{"process.uid", KindInt, FieldUID, PartSubject, TrustKernel, all, nil, "Real user id, initial user namespace."},
	{"process.euid", KindInt, FieldEUID, PartSubject, TrustKernel, all, nil, "Effective user id, initial user namespace."},
	{"process.gid", KindInt, FieldGID, PartSubject, TrustKernel, all, nil, "Real group id, initial user namespace."},
	{"process.egid", KindInt, FieldEGID, PartSubject, TrustKernel, all, nil, "Effective group id, initial user namespace."},
	{"process.loginuid", KindInt, FieldLoginUID, PartSubject, TrustKernel, all, nil, "User id at login; 4294967295 if there was none (a service)."},
	{"process.caps", KindFlags, FieldCaps, PartSubject, TrustKernel, all, Capabilities, "Effective capabilities, without CAP_."},
	{"process.cgroup.id", KindInt, FieldCgroupID, PartSubject, TrustKernel, all, nil, "cgroup v2 id: inode of its directory."},
	{"process.cgroup.path", KindString, FieldNone, PartUser, TrustKernel, all, nil, "Path of the cgroup below the cgroup2 mount."},
	{"process.cgroup.processes", KindInt, FieldCgroupProcs, PartObject, TrustKernel, onFork, nil, "Processes in the cgroup before this fork, as counted by Bailiff since it started plus those it found."},
	{"process.cgroup.forks_per_second", KindInt, FieldForkRate, PartObject, TrustKernel, onFork, nil, "Processes that were made in the cgroup within the last second, without this one. Counted from when a rule reads it."},
	{"process.cgroup.execs_per_second", KindInt, FieldExecRate, PartObject, TrustKernel, onExec, nil, "Programs that were executed in the cgroup within the last second, without this one. Counted from when a rule reads it."},
	{"process.ns.mnt", KindInt, FieldMntNS, PartSubject, TrustKernel, all, nil, "Inode of the mount namespace."},
	{"process.ns.pid", KindInt, FieldPidNS, PartSubject, TrustKernel, all, nil, "Inode of the pid namespace of its children."},
	{"process.ns.user", KindInt, FieldUserNS, PartSubject, TrustKernel, all, nil, "Inode of the user namespace."},
	{"process.tty", KindInt, FieldTTY, PartSubject, TrustKernel, all, nil, "Controlling terminal as in /proc/pid/stat; 0 if there is none."},
	{"process.traits", KindFlags, FieldProcessTraits, PartObject, TrustKernel, all, ProcessTraits, "Where the process lives: own_mnt_ns, own_pid_ns (for its children), own_user_ns (its namespace is not the initial one of the kernel); container (own_mnt_ns, and own_pid_ns or another root directory than that of process 1)."},
	{"process.stdio", KindFlags, FieldStdio, PartObject, TrustKernel, onExec, Stdio, "What the new image has as descriptors 0, 1, 2 (those that are closed on exec left out): stdin_socket, stdout_socket, stderr_socket (any socket), stdin_network, stdout_network, stderr_network (a socket of another family than UNIX, and not one that listens)."},

	{"file.path", KindPath, FieldPath, PartObject, TrustKernel, withFile, nil, "Canonical path of the file that is executed, opened, mapped or changed; of the program of a process that is attached to."},
	{"file.name", KindString, FieldName, PartObject, TrustKernel, withFile, nil, "Last component of file.path."},
	{"file.identities", KindNames, FieldIdentities, PartObject, TrustKernel, withFile, nil, "Names from data.bailiff.identities that the file has, in the order of the alphabet. They follow it through hard links, bind mounts and renames, and go to the file that takes its place."},
	{"file.mode", KindInt, FieldMode, PartObject, TrustKernel, withFile, nil, "st_mode: type, set-id and permission bits."},
	{"file.uid", KindInt, FieldOwner, PartObject, TrustKernel, withFile, nil, "Owner, initial user namespace."},
	{"file.gid", KindInt, FieldGroup, PartObject, TrustKernel, withFile, nil, "Group, initial user namespace."},
	{"file.nlink", KindInt, FieldNlink, PartObject, TrustKernel, withFile, nil, "Number of hard links; 0 for an unlinked or never linked file."},
	{"file.fs.magic", KindInt, FieldFsMagic, PartObject, TrustKernel, withFile, nil, "Magic number of the filesystem, as in linux/magic.h."},
	{"file.fs.type", KindString, FieldNone, PartUser, TrustKernel, withFile, nil, "Name of the filesystem type."},
	{"file.traits", KindFlags, FieldTraits, PartObject, TrustKernel, withFile, Traits, "What is unusual about the file: memory_backed (memfd, shared memory or a tmpfs at /dev/shm), unlinked, setuid, setgid, world_writable, dir_world_writable, overlay_upper (in the upper layer of an overlay: not from the image, or changed since)."},
	{"file.age", KindInt, FieldFileAge, PartObject, TrustKernel, withFile, nil, "Whole seconds since the content or an attribute of the file was changed (ctime), by the wall clock; 0 if that is in the future."},
	{"file.dir.mode", KindInt, FieldDirMode, PartObject, TrustKernel, withFile, nil, "st_mode of the directory that holds the file."},
	{"file.dir.uid", KindInt, FieldDirUID, PartObject, TrustKernel, withFile, nil, "Owner of the directory that holds the file."},

	{"file.sha256", KindDigest, FieldSHA256, PartObject, TrustKernel, onExec, nil, "SHA-256 of the content that is executed, lower-case hex. The kernel computes it where it can (IMA, and the LSM backend: see `bailiff doctor`). Elsewhere it is only for rules that are held (undecided: hold): the agent reads the file while the exec waits, and keeps writers out until it has begun. \"\" if it is not known."},
	{"file.verity", KindDigest, FieldVerity, PartObject, TrustKernel, onExec, nil, "fs-verity digest of the file that is executed, as `fsverity measure` prints it: sha256: or sha512:, and lower-case hex. \"\" if the file has none, as on an overlay; a rule about one of which nobody can say is undecided. The kernel has it where it can (6.8 and later, and the LSM backend: see `bailiff doctor`). Elsewhere it is only for rules that are held (undecided: hold): the agent asks for it while the exec waits."},

	{"args", KindList, FieldArgs, PartCommit, TrustProcess, onExec, nil, "Argument vector of the new image; known after the point of no return, and, as the caller has it, while an exec is held: there it is compared with what the image gets."},
	{"env", KindMap, FieldEnv, PartCommit, TrustProcess, onExec, nil, "The selected environment variables of the new image; known as args are."},
	{"cwd", KindString, FieldNone, PartUser, TrustKernel, onExec, nil, "Working directory of the caller, canonical; known as args are."},
	{"script", KindString, FieldNone, PartUser, TrustKernel, onExec, nil, "Canonical path of the script when file is its interpreter; known as args are. The backend tracepoint has it only while an exec is held."},
	{"open.flags", KindFlags, FieldOpenFlags, PartObject, TrustKernel, onOpen, OpenFlags, "How the file is opened: read, write, append, create, truncate, exclusive, directory. What changes a file without an open has write, with create for a name that is made, truncate, and read for a file that gets another name."},
	{"target.pid", KindInt, FieldNone, PartUser, TrustKernel, onPtrace, nil, "Thread group id of the process that is attached to, initial pid namespace."},
	{"target.traits", KindFlags, FieldTargetTraits, PartObject, TrustKernel, onPtrace, TargetTraits, "How that process stands to the one that attaches: descendant (that one is above it), other_user (it has another real or effective user id), other_mnt_ns (it is in another mount namespace)."},
	{"fork.flags", KindInt, FieldCloneFlags, PartObject, TrustKernel, onFork, nil, "Clone flags."},
}

// FieldByPath returns the field of that path below input.
func FieldByPath(path string) (Field, bool) {
	for _, f := range Fields {
		if f.Path == path {
			return f, true
		}
	}
	return Field{}, false
}

// FieldByID returns the field that the kernel knows by that number.
func FieldByID(id FieldID) Field {
	for _, f := range Fields {
		if f.ID == id && id != FieldNone {
			return f
		}
	}
	return Field{}
}

// FlagNames turns a mask into the names of its bits; bits without a name are left out.
func FlagNames(names []string, mask uint64) []string {
	var out []string
	for i, n := range names {
		if mask&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return out
}

// FlagMask is the inverse of FlagNames; unknown names are ignored.
func FlagMask(names, set []string) uint64 {
	var m uint64
	for i, n := range names {
		for _, s := range set {
			if s == n {
				m |= 1 << i
			}
		}
	}
	return m
}

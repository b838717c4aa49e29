package event

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
	Bits  []string // KindFlags: names of bits 0, 1, ...
	Doc   string   // one sentence: meaning, unit
}

// NotAtGate lists the fields that are not known yet when an exec is held at the
// gate: the file is open, but its arguments have not been looked at.
var NotAtGate = []string{"args", "env", "cwd", "script"}

// OpenFlags are the bits of input.open.flags.
var OpenFlags = []string{"read", "write", "append", "create", "truncate", "exclusive", "directory"}

// Traits are the bits of input.file.traits.
var Traits = []string{"memory_backed", "unlinked", "setuid", "setgid", "world_writable", "dir_world_writable"}

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
	all      = []Hook{HookExec, HookFork, HookOpen}
	onExec   = []Hook{HookExec}
	onFork   = []Hook{HookFork}
	onOpen   = []Hook{HookOpen}
	withFile = []Hook{HookExec, HookOpen}
)

// Fields is the input document: total, the same for every hook, zero value
// where a field does not apply.
var Fields = []Field{
	{"hook", KindString, FieldNone, PartUser, TrustKernel, all, nil, "exec, fork or open."},

	{"process.pid", KindInt, FieldNone, PartUser, TrustKernel, all, nil, "Thread group id of the acting process, initial pid namespace."},
	{"process.exe.path", KindPath, FieldExePath, PartSubject, TrustKernel, all, nil, "Canonical path of the program that acts, taken at its exec."},
	{"process.exe.name", KindString, FieldExeName, PartSubject, TrustKernel, all, nil, "Last component of process.exe.path."},
	{"process.parent.exe.path", KindPath, FieldParentPath, PartSubject, TrustKernel, all, nil, "Canonical path of the program that the parent ran when this process was forked."},
	{"process.parent.exe.name", KindString, FieldParentName, PartSubject, TrustKernel, all, nil, "Last component of process.parent.exe.path."},
	{"process.ancestors", KindPaths, FieldAncestors, PartSubject, TrustKernel, all, nil, "Canonical paths of the programs above this process, nearest first, each once. Kept by Bailiff: a parent that exits stays in it."},
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
	{"process.ns.mnt", KindInt, FieldMntNS, PartSubject, TrustKernel, all, nil, "Inode of the mount namespace."},
	{"process.ns.pid", KindInt, FieldPidNS, PartSubject, TrustKernel, all, nil, "Inode of the pid namespace of its children."},
	{"process.ns.user", KindInt, FieldUserNS, PartSubject, TrustKernel, all, nil, "Inode of the user namespace."},
	{"process.tty", KindInt, FieldTTY, PartSubject, TrustKernel, all, nil, "Controlling terminal as in /proc/pid/stat; 0 if there is none."},

	{"file.path", KindPath, FieldPath, PartObject, TrustKernel, withFile, nil, "Canonical path of the file that is executed or opened."},
	{"file.name", KindString, FieldName, PartObject, TrustKernel, withFile, nil, "Last component of file.path."},
	{"file.mode", KindInt, FieldMode, PartObject, TrustKernel, withFile, nil, "st_mode: type, set-id and permission bits."},
	{"file.uid", KindInt, FieldOwner, PartObject, TrustKernel, withFile, nil, "Owner, initial user namespace."},
	{"file.gid", KindInt, FieldGroup, PartObject, TrustKernel, withFile, nil, "Group, initial user namespace."},
	{"file.nlink", KindInt, FieldNlink, PartObject, TrustKernel, withFile, nil, "Number of hard links; 0 for an unlinked or never linked file."},
	{"file.fs.magic", KindInt, FieldFsMagic, PartObject, TrustKernel, withFile, nil, "Magic number of the filesystem, as in linux/magic.h."},
	{"file.fs.type", KindString, FieldNone, PartUser, TrustKernel, withFile, nil, "Name of the filesystem type."},
	{"file.traits", KindFlags, FieldTraits, PartObject, TrustKernel, withFile, Traits, "What is unusual about the file: memory_backed (memfd, shared memory or a tmpfs at /dev/shm), unlinked, setuid, setgid, world_writable, dir_world_writable."},
	{"file.dir.mode", KindInt, FieldDirMode, PartObject, TrustKernel, withFile, nil, "st_mode of the directory that holds the file."},
	{"file.dir.uid", KindInt, FieldDirUID, PartObject, TrustKernel, withFile, nil, "Owner of the directory that holds the file."},

	{"args", KindList, FieldNone, PartUser, TrustProcess, onExec, nil, "Argument vector of the new image; known after the point of no return."},
	{"env", KindMap, FieldNone, PartUser, TrustProcess, onExec, nil, "The selected environment variables of the new image."},
	{"cwd", KindString, FieldNone, PartUser, TrustKernel, onExec, nil, "Working directory of the caller, canonical."},
	{"script", KindString, FieldNone, PartUser, TrustKernel, onExec, nil, "Canonical path of the script when file is its interpreter."},
	{"open.flags", KindFlags, FieldOpenFlags, PartObject, TrustKernel, onOpen, OpenFlags, "How the file is opened: read, write, append, create, truncate, exclusive, directory."},
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

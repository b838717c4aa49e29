package ir

import (
	"slices"
	"strings"

	"example.com/bailiff/internal/event"
)

// KeyOf returns what the kernel reads of an event: the value of each kernel
// field, zero where the field does not apply to the event's hook.
func KeyOf(e *event.Event) *Key {
	k := new(Key)
	p := &e.Process
	k.path(event.FieldExePath, event.FieldExeName, &p.Exe)
	k.path(event.FieldParentPath, event.FieldParentName, &p.Parent)
	k.Str[event.FieldAncestors], k.Above = p.Ancestry, p.AncestorNames
	k.Str[event.FieldShell] = ShellNames(p)
	k.Num[event.FieldUID] = uint64(p.UID)
	k.Num[event.FieldEUID] = uint64(p.EUID)
	k.Num[event.FieldGID] = uint64(p.GID)
	k.Num[event.FieldEGID] = uint64(p.EGID)
	k.Num[event.FieldLoginUID] = uint64(p.LoginUID)
	k.Num[event.FieldCaps] = p.CapEff
	k.Num[event.FieldCgroupID] = p.CgroupID
	k.Num[event.FieldMntNS] = uint64(p.MntNS)
	k.Num[event.FieldPidNS] = uint64(p.PidNS)
	k.Num[event.FieldUserNS] = uint64(p.UserNS)
	k.Num[event.FieldTTY] = uint64(p.TTY)
	k.Num[event.FieldProcessTraits] = event.FlagMask(event.ProcessTraits, p.Traits)
	k.Num[event.FieldHook] = uint64(e.Hook)
	switch e.Hook {
	case event.HookExec:
		k.Num[event.FieldExecRate] = e.CgroupRate
		k.Num[event.FieldStdio] = event.FlagMask(event.Stdio, p.Stdio)
		if x := e.Exec; x != nil {
			k.Str[event.FieldArgs], k.Num[event.FieldArgs], k.ArgsCut = x.Args, uint64(len(x.Args)), x.ArgsCut
			k.Env, k.EnvCut = x.Env, x.EnvCut || len(x.EnvAgain) > 0
		}
	case event.HookFork:
		k.Num[event.FieldCgroupProcs] = e.CgroupProcs
		k.Num[event.FieldForkRate] = e.CgroupRate
		if e.Fork != nil {
			k.Num[event.FieldCloneFlags] = e.Fork.Flags
		}
	case event.HookPtrace:
		if e.Target != nil {
			k.Num[event.FieldTargetTraits] = event.FlagMask(event.TargetTraits, e.Target.Traits)
		}
	}
	if e.Hook.HasOpenFlags() {
		k.Num[event.FieldOpenFlags] = event.FlagMask(event.OpenFlags, e.Open)
	}
	if e.Hook != event.HookFork && e.File != nil {
		k.object(e.File)
		if e.Hook.Package() == event.HookExec {
			k.digests(e)
		}
		k.Num[event.FieldFileAge] = e.FileAge
	}
	return k
}

func (k *Key) object(f *event.File) {
	k.path(event.FieldPath, event.FieldName, f)
	k.Unresolved = f.Unresolved
	k.Num[event.FieldMode] = uint64(f.Mode)
	k.Num[event.FieldOwner] = uint64(f.UID)
	k.Num[event.FieldGroup] = uint64(f.GID)
	k.Num[event.FieldNlink] = uint64(f.Nlink)
	k.Num[event.FieldFsMagic] = f.FsMagic
	k.Num[event.FieldTraits] = event.FlagMask(event.Traits, f.Traits)
	k.Str[event.FieldIdentities] = f.Identities
	k.Num[event.FieldDirMode] = uint64(f.DirMode)
	k.Num[event.FieldDirUID] = uint64(f.DirUID)
}

// digests: a file that is mapped has none.
func (k *Key) digests(e *event.Event) {
	sum, verity, known := "", "", true
	if e.Hook == event.HookExec {
		sum = e.File.SHA256
		verity, known = e.File.VerityDigest()
		k.NoDigest, k.NoVerity = sum == "", !known
	}
	k.Str[event.FieldSHA256] = []string{sum}
	if known {
		k.Str[event.FieldVerity] = []string{verity}
	}
}

func (k *Key) path(path, name event.FieldID, f *event.File) {
	k.Str[path] = NamesOf(f)
	for _, p := range k.Str[path] {
		if n := BaseName(p); !slices.Contains(k.Str[name], n) {
			k.Str[name] = append(k.Str[name], n)
		}
	}
}

// ShellNames returns all names of the shell that a process is under: its own, or those
// of an ancestor.
func ShellNames(p *event.Process) []string {
	if p.Shell == p.Exe.Path && p.Shell != "" {
		return NamesOf(&p.Exe)
	}
	for _, names := range p.AncestorNames {
		if len(names) > 0 && names[0] == p.Shell {
			return names
		}
	}
	return []string{p.Shell}
}

// NamesOf returns all canonical names of a file, at least one.
func NamesOf(f *event.File) []string {
	if len(f.Names) > 0 {
		return f.Names
	}
	return []string{f.Path}
}

// BaseName returns what follows the last slash of a path: the meaning of the
// name fields.
func BaseName(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

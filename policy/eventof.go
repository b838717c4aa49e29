package policy

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// EventOf makes an act out of an input document, of which any part may be left
// out: the way back from Document. It is for tests and for acts that people
// write down; the pid and names that are not given are zero.
func EventOf(h event.Hook, input map[string]any) (*event.Event, error) {
	e := &event.Event{Hook: h, Decision: event.Decision{}}
	switch {
	case h == event.HookExec:
		e.File, e.Exec = &event.File{Verity: event.NoVerity}, &event.Exec{}
	case h == event.HookMmap, h.HasOpenFlags():
		e.File = &event.File{}
	case h == event.HookPtrace:
		e.File, e.Target = &event.File{}, &event.Target{}
	case h == event.HookFork:
		e.Fork = &event.Fork{}
	default:
		return nil, fmt.Errorf("make act: hook %s is not one that is judged", h)
	}
	if err := setFields(e, "", input); err != nil {
		return nil, fmt.Errorf("make act: %w", err)
	}
	return e, nil
}

func setFields(e *event.Event, prefix string, in map[string]any) error {
	for _, k := range sortedKeys(in) {
		path := prefix + k
		f, isField := event.FieldByPath(path)
		sub, isObject := in[k].(map[string]any)
		switch {
		case isField:
			v, err := valueOf(f, in[k])
			if err != nil {
				return fmt.Errorf("input.%s: %w", path, err)
			}
			if err := setField(e, f, v); err != nil {
				return fmt.Errorf("input.%s: %w", path, err)
			}
		case isObject && slices.ContainsFunc(event.Fields, func(f event.Field) bool { return strings.HasPrefix(f.Path, path+".") }):
			if err := setFields(e, path+".", sub); err != nil {
				return err
			}
		default:
			return fmt.Errorf("there is no field input.%s: %s", path, nearest(path))
		}
	}
	return nil
}

// fieldValue is the value of a field in the form that its kind has.
type fieldValue struct {
	s string
	n uint64
	l []string
	m map[string]string
}

// valueOf reads a value as JSON and YAML readers give it.
func valueOf(f event.Field, v any) (out fieldValue, err error) {
	ok := true
	switch f.Kind {
	case event.KindInt:
		out.n, ok = wholeNumber(v)
		err = fmt.Errorf("%v is not a whole number from 0 up", v)
	case event.KindFlags, event.KindPaths, event.KindList, event.KindNames:
		out.l, ok = texts(v)
		err = fmt.Errorf("%v is not a list of strings", v)
		for _, s := range out.l {
			if f.Kind == event.KindFlags && !slices.Contains(f.Bits, s) {
				ok, err = false, fmt.Errorf("%q is not one of %s", s, strings.Join(f.Bits, ", "))
			}
		}
	case event.KindMap:
		var m map[string]any
		m, ok = v.(map[string]any)
		err = fmt.Errorf("%v is not an object of strings", v)
		out.m = map[string]string{}
		for k, x := range m {
			s, isText := x.(string)
			out.m[k], ok = s, ok && isText
		}
	default:
		out.s, ok = v.(string)
		err = fmt.Errorf("%v is not a string", v)
	}
	if ok {
		err = nil
	}
	return out, err
}

func wholeNumber(v any) (uint64, bool) {
	switch v := v.(type) {
	case uint64:
		return v, true
	case int64:
		return uint64(v), v >= 0
	case int:
		return uint64(v), v >= 0
	case float64:
		return uint64(v), v >= 0 && v == math.Trunc(v) && v < 1<<63
	case json.Number:
		n, err := v.Int64()
		return uint64(n), err == nil && n >= 0
	}
	return 0, false
}

func texts(v any) ([]string, bool) {
	list, ok := v.([]any)
	out := make([]string, 0, len(list))
	for _, x := range list {
		s, isText := x.(string)
		if !isText {
			return nil, false
		}
		out = append(out, s)
	}
	return out, ok
}

// setField puts a value into the event. A field that the hook does not have may be
// given as zero only.
func setField(e *event.Event, f event.Field, v fieldValue) error {
	if !slices.Contains(f.Hooks, e.Hook) {
		if v.s != "" || v.n != 0 || len(v.l)+len(v.m) > 0 {
			return fmt.Errorf("an act of %s has none", e.Hook)
		}
		return nil
	}
	if f.Path == "file.age" {
		e.FileAge = v.n
		return nil
	}
	if part, ok := strings.CutPrefix(f.Path, "file."); ok {
		return setFile(e.File, part, v)
	}
	if part, ok := strings.CutPrefix(f.Path, "process."); ok {
		return setProcess(e, part, v)
	}
	switch f.Path {
	case "hook":
		if v.s != e.Hook.String() {
			return fmt.Errorf("%q is not %s", v.s, e.Hook)
		}
	case "args":
		e.Exec.Args = v.l
	case "env":
		e.Exec.Env = v.m
	case "cwd":
		e.Exec.Cwd = v.s
	case "script":
		e.Exec.Script = v.s
	case "open.flags":
		e.Open = v.l
	case "target.pid":
		e.Target.PID = int32(v.n)
	case "target.traits":
		e.Target.Traits = v.l
	case "fork.flags":
		e.Fork.Flags = v.n
	default:
		return fmt.Errorf("it cannot be given")
	}
	return nil
}

func setProcess(e *event.Event, part string, v fieldValue) error {
	p := &e.Process
	switch part {
	case "pid":
		p.PID = int32(v.n)
	case "exe.path", "exe.name":
		return setName(&p.Exe, part == "exe.name", v.s)
	case "parent.exe.path", "parent.exe.name":
		return setName(&p.Parent, part == "parent.exe.name", v.s)
	case "ancestors":
		p.Ancestry = v.l
	case "shell":
		p.Shell = v.s
	case "comm":
		p.Comm = v.s
	case "caps":
		p.CapEff = event.FlagMask(event.Capabilities, v.l)
	case "traits":
		p.Traits = v.l
	case "stdio":
		p.Stdio = v.l
	case "cgroup.id":
		p.CgroupID = v.n
	case "cgroup.path":
		p.Cgroup = v.s
	case "cgroup.processes":
		e.CgroupProcs = v.n
	case "cgroup.forks_per_second", "cgroup.execs_per_second":
		e.CgroupRate = v.n
	default:
		at := map[string]*uint32{"uid": &p.UID, "euid": &p.EUID, "gid": &p.GID, "egid": &p.EGID, "loginuid": &p.LoginUID,
			"ns.mnt": &p.MntNS, "ns.pid": &p.PidNS, "ns.user": &p.UserNS, "tty": &p.TTY}[part]
		return setNumber(at, v.n)
	}
	return nil
}

func setFile(f *event.File, part string, v fieldValue) error {
	switch part {
	case "path", "name":
		return setName(f, part == "name", v.s)
	case "traits":
		f.Traits = v.l
	case "identities":
		f.Identities = v.l
	case "fs.magic":
		f.FsMagic = v.n
	case "fs.type":
		f.FsType = v.s
	case "sha256":
		f.SHA256 = v.s
	case "verity":
		if f.Verity = v.s; v.s == "" {
			f.Verity = event.NoVerity // as who writes acts down sees it
		}
	default:
		at := map[string]*uint32{"mode": &f.Mode, "uid": &f.UID, "gid": &f.GID, "nlink": &f.Nlink, "dir.mode": &f.DirMode, "dir.uid": &f.DirUID}[part]
		return setNumber(at, v.n)
	}
	return nil
}

func setNumber(at *uint32, n uint64) error {
	if at == nil {
		return fmt.Errorf("it cannot be given")
	}
	if n > math.MaxUint32 {
		return fmt.Errorf("%d does not fit into 32 bits", n)
	}
	*at = uint32(n)
	return nil
}

// setName sets a path, or only its last component: then that is the path. The
// fields of one object come in the order of the alphabet, name before path.
func setName(f *event.File, name bool, s string) error {
	if !name && f.Path != "" && ir.BaseName(s) != f.Path {
		return fmt.Errorf("%q does not end in the name that is given, %q", s, f.Path)
	}
	f.Path = s
	return nil
}

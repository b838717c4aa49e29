package ocsf

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"example.com/bailiff/internal/event"
)

const (
	unsetID = 1<<32 - 1 // loginuid of what nobody logged in for

	modeType = 0o170000 // of st_mode
	modeExec = 0o111
)

// uid makes an exec id unique among all machines.
func (r *record) uid(id event.ExecID) string {
	if id == 0 {
		return ""
	}
	return r.it.Run.Boot + "/" + id.String()
}

func (r *record) actor() {
	p := &r.e.Process
	r.Object("actor")
	r.process("process", p, true)
	r.user("user", p.EUID)
	if !r.v18() && r.e.Decision.Rule != nil {
		r.authorizations()
	}
	r.End()
}

func (r *record) user(key string, id uint32) {
	r.Object(key)
	r.Str("uid", strconv.FormatUint(uint64(id), 10))
	if id == 0 {
		r.Int("type_id", 2)
		r.Str("type", "Admin")
	}
	r.End()
}

// process writes an image that runs, with its parent if it is told to.
func (r *record) process(key string, p *event.Process, parent bool) {
	r.Object(key)
	r.identity(p)
	r.Int("tid", int64(p.TID))
	r.Opt("uid", r.uid(p.ExecID))
	r.image(&p.Exe)
	r.credentials(p)
	if parent {
		r.Object("parent_process")
		r.Int("pid", int64(p.PPID))
		r.Opt("uid", r.uid(p.ParentID))
		r.image(&p.Parent)
		r.End()
		r.ancestry(p.Ancestry)
	}
	r.End()
}

// identity writes what stays the same through an exec.
func (r *record) identity(p *event.Process) {
	r.Int("pid", int64(p.PID))
	if r.v18() {
		r.Opt("cpid", cpid(r.it.Run.Boot, p))
	}
	if p.Start > 0 && r.e.Boot >= p.Start {
		r.Int("created_time", r.e.Time.UnixMilli()-int64((r.e.Boot-p.Start)/1_000_000))
	}
}

// image writes the program of a process.
func (r *record) image(f *event.File) {
	if f.Path == "" {
		return
	}
	r.Str("name", path.Base(f.Path))
	r.file("file", f)
}

func (r *record) credentials(p *event.Process) {
	r.user("user", p.UID)
	r.Uint("euid", uint64(p.EUID))
	r.Uint("egid", uint64(p.EGID))
	if p.LoginUID != unsetID {
		r.Uint("auid", uint64(p.LoginUID))
	}
	r.Object("group")
	r.Str("uid", strconv.FormatUint(uint64(p.GID), 10))
	r.End()
}

func (r *record) ancestry(paths []string) {
	if len(paths) == 0 {
		return
	}
	if !r.v18() {
		r.Strs("lineage", paths)
		return
	}
	r.Array("ancestry")
	for _, p := range paths {
		if p == "" {
			continue
		}
		r.Object("")
		r.Str("name", path.Base(p))
		r.Str("path", p)
		r.End()
	}
	r.EndArray()
}

// executed writes the process as it is, or would be, after an exec.
func (r *record) executed() {
	p := &r.e.Process
	r.Object("process")
	r.identity(p)
	x := r.e.Exec
	if x != nil {
		r.Opt("uid", r.uid(x.ExecID))
	}
	if r.e.File != nil {
		r.image(r.e.File)
	}
	if x != nil {
		r.Opt("cmd_line", commandLine(x.Args))
		if r.v18() {
			r.Opt("working_directory", x.Cwd)
			r.environment(x.Env)
		}
	}
	r.credentials(p)
	r.Object("parent_process")
	r.Int("pid", int64(p.PPID))
	r.Opt("uid", r.uid(p.ParentID))
	r.image(&p.Parent)
	r.End()
	r.ancestry(p.Ancestry)
	r.End()
}

// target writes the process that is attached to.
func (r *record) target() {
	t := r.e.Target
	r.Object("process")
	r.Int("pid", int64(t.PID))
	r.Opt("uid", r.uid(t.ExecID))
	r.image(r.e.File)
	r.End()
}

// forked writes the new process of a fork. One that was refused has no pid: it
// goes by the name of the event.
func (r *record) forked() {
	p := &r.e.Process
	r.Object("process")
	if f := r.e.Fork; f != nil && f.PID > 0 {
		r.Int("pid", int64(f.PID))
		r.Opt("uid", r.uid(f.ExecID))
		r.Int("created_time", r.e.Time.UnixMilli())
	} else {
		r.Str("uid", r.id)
	}
	r.image(&p.Exe)
	r.credentials(p)
	r.process("parent_process", p, false)
	r.End()
}

func (r *record) environment(env map[string]string) {
	if len(env) == 0 {
		return
	}
	r.Array("environment_variables")
	for _, k := range slices.Sorted(maps.Keys(env)) {
		r.Object("")
		r.Str("name", k)
		r.Str("value", env[k])
		r.End()
	}
	r.EndArray()
}

// file writes a file; its uid is the inode's identity.
func (r *record) file(key string, f *event.File) {
	if f == nil {
		f = &event.File{}
	}
	r.Object(key)
	name := path.Base(f.Path)
	if f.Path == "" {
		name = "unknown"
	}
	r.Str("name", name)
	id, typ := fileType(f.Mode)
	r.Int("type_id", int64(id))
	r.Str("type", typ)
	r.Opt("path", f.Path)
	if dir := path.Dir(f.Path); f.Path != "" && dir != "." {
		r.Str("parent_folder", dir)
	}
	if f.ID != (event.FileID{}) {
		r.Str("uid", fmt.Sprintf("%d:%d:%d:%d", f.ID.Dev>>20, f.ID.Dev&(1<<20-1), f.ID.Ino, f.ID.Gen))
	}
	if f.Mode != 0 {
		r.user("owner", f.UID)
		if r.v18() && f.Nlink == 0 {
			r.Bool("is_deleted", true)
		}
	}
	r.End()
}

func fileType(mode uint32) (int, string) {
	switch mode & modeType {
	case 0o040000:
		return 2, "Folder"
	case 0o020000:
		return 3, "Character Device"
	case 0o060000:
		return 4, "Block Device"
	case 0o140000:
		return 5, "Local Socket"
	case 0o010000:
		return 6, "Named Pipe"
	case 0o120000:
		return 7, "Symbolic Link"
	case 0o100000:
		if mode&modeExec != 0 {
			return 8, "Executable File"
		}
		return 1, "Regular File"
	}
	return 0, "Unknown"
}

// commandLine joins arguments so that they can be told apart again.
func commandLine(args []string) string {
	quoted := make([]string, len(args))
	for i, a := range args {
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$`&|;<>()*?[]#~!{}") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		quoted[i] = a
	}
	return strings.Join(quoted, " ")
}

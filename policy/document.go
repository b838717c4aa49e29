package policy

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// value gives a field's value, for the hooks on which the field applies.
type value func(*view) *ast.Term

// values has one entry for each field of event.Fields; a test holds it to that.
func values() map[string]value {
	return map[string]value{
		"hook":        func(v *view) *ast.Term { return ast.InternedTerm(v.e.Hook.String()) },
		"process.pid": func(v *view) *ast.Term { return ast.InternedTerm(int64(v.e.Process.PID)) },

		"process.exe.path":        func(v *view) *ast.Term { return ast.StringTerm(v.exe) },
		"process.exe.name":        func(v *view) *ast.Term { return ast.StringTerm(ir.BaseName(v.exe)) },
		"process.parent.exe.path": func(v *view) *ast.Term { return ast.StringTerm(v.parent) },
		"process.parent.exe.name": func(v *view) *ast.Term { return ast.StringTerm(ir.BaseName(v.parent)) },

		"process.ancestors":               func(v *view) *ast.Term { return stringList(v.above) },
		"process.shell":                   func(v *view) *ast.Term { return ast.StringTerm(v.shell) },
		"process.comm":                    func(v *view) *ast.Term { return ast.StringTerm(v.e.Process.Comm) },
		"process.uid":                     func(v *view) *ast.Term { return number(uint64(v.e.Process.UID)) },
		"process.euid":                    func(v *view) *ast.Term { return number(uint64(v.e.Process.EUID)) },
		"process.gid":                     func(v *view) *ast.Term { return number(uint64(v.e.Process.GID)) },
		"process.egid":                    func(v *view) *ast.Term { return number(uint64(v.e.Process.EGID)) },
		"process.loginuid":                func(v *view) *ast.Term { return number(uint64(v.e.Process.LoginUID)) },
		"process.caps":                    func(v *view) *ast.Term { return flagList(event.Capabilities, v.e.Process.CapEff) },
		"process.cgroup.id":               func(v *view) *ast.Term { return number(v.e.Process.CgroupID) },
		"process.cgroup.path":             func(v *view) *ast.Term { return ast.StringTerm(v.e.Process.Cgroup) },
		"process.cgroup.processes":        func(v *view) *ast.Term { return number(v.e.CgroupProcs) },
		"process.cgroup.forks_per_second": func(v *view) *ast.Term { return number(v.e.CgroupRate) },
		"process.cgroup.execs_per_second": func(v *view) *ast.Term { return number(v.e.CgroupRate) },
		"process.ns.mnt":                  func(v *view) *ast.Term { return number(uint64(v.e.Process.MntNS)) },
		"process.ns.pid":                  func(v *view) *ast.Term { return number(uint64(v.e.Process.PidNS)) },
		"process.ns.user":                 func(v *view) *ast.Term { return number(uint64(v.e.Process.UserNS)) },
		"process.tty":                     func(v *view) *ast.Term { return number(uint64(v.e.Process.TTY)) },
		"process.traits": func(v *view) *ast.Term {
			return flagList(event.ProcessTraits, event.FlagMask(event.ProcessTraits, v.e.Process.Traits))
		},
		"process.stdio": func(v *view) *ast.Term {
			return flagList(event.Stdio, event.FlagMask(event.Stdio, v.e.Process.Stdio))
		},

		"file.path":       func(v *view) *ast.Term { return ast.StringTerm(v.file) },
		"file.name":       func(v *view) *ast.Term { return ast.StringTerm(ir.BaseName(v.file)) },
		"file.identities": func(v *view) *ast.Term { return stringList(v.e.File.Identities) },
		"file.mode":       func(v *view) *ast.Term { return number(uint64(v.e.File.Mode)) },
		"file.uid":        func(v *view) *ast.Term { return number(uint64(v.e.File.UID)) },
		"file.gid":        func(v *view) *ast.Term { return number(uint64(v.e.File.GID)) },
		"file.nlink":      func(v *view) *ast.Term { return number(uint64(v.e.File.Nlink)) },
		"file.fs.magic":   func(v *view) *ast.Term { return number(v.e.File.FsMagic) },
		"file.fs.type":    func(v *view) *ast.Term { return ast.StringTerm(v.e.File.FsType) },
		"file.traits": func(v *view) *ast.Term {
			return flagList(event.Traits, event.FlagMask(event.Traits, v.e.File.Traits))
		},
		"file.age":      func(v *view) *ast.Term { return number(v.e.FileAge) },
		"file.dir.mode": func(v *view) *ast.Term { return number(uint64(v.e.File.DirMode)) },
		"file.dir.uid":  func(v *view) *ast.Term { return number(uint64(v.e.File.DirUID)) },
		"file.sha256":   func(v *view) *ast.Term { return ast.StringTerm(v.e.File.SHA256) },
		"file.verity": func(v *view) *ast.Term {
			digest, _ := v.e.File.VerityDigest()
			return ast.StringTerm(digest)
		},

		"args":   func(v *view) *ast.Term { return stringList(v.e.Exec.Args) },
		"env":    func(v *view) *ast.Term { return stringMap(v.e.Exec.Env) },
		"cwd":    func(v *view) *ast.Term { return ast.StringTerm(v.e.Exec.Cwd) },
		"script": func(v *view) *ast.Term { return ast.StringTerm(v.e.Exec.Script) },
		"open.flags": func(v *view) *ast.Term {
			return flagList(event.OpenFlags, event.FlagMask(event.OpenFlags, v.e.Open))
		},
		"target.pid": func(v *view) *ast.Term { return number(uint64(v.e.Target.PID)) },
		"target.traits": func(v *view) *ast.Term {
			return flagList(event.TargetTraits, event.FlagMask(event.TargetTraits, v.e.Target.Traits))
		},
		"fork.flags": func(v *view) *ast.Term { return number(v.e.Fork.Flags) },
	}
}

// zero is what a field holds where it does not apply: the document is total,
// since a missing field changes the meaning of "not".
func zero(k event.Kind) *ast.Term {
	switch k {
	case event.KindInt:
		return ast.InternedTerm(0)
	case event.KindFlags, event.KindPaths, event.KindList, event.KindNames:
		return ast.ArrayTerm()
	case event.KindMap:
		return ast.ObjectTerm()
	}
	return ast.InternedTerm("")
}

// node is a place in the document: a field or an object of further nodes.
type node struct {
	key      *ast.Term
	field    event.Field
	value    value
	zero     *ast.Term
	children []*node
	holds    fieldSet                 // the fields at or below this place
	empty    map[event.Hook]*ast.Term // the whole object on hooks where no field below applies
}

// fieldSet is a set of indexes into event.Fields.
type fieldSet [2]uint64

func (s *fieldSet) add(i int)                { s[i/64] |= 1 << (i % 64) }
func (s fieldSet) meets(o fieldSet) bool     { return s[0]&o[0]|s[1]&o[1] != 0 }
func (s fieldSet) union(o fieldSet) fieldSet { return fieldSet{s[0] | o[0], s[1] | o[1]} }

// everyField is the set of all fields.
var everyField = fieldSet{^uint64(0), ^uint64(0)}

// documentTree puts the fields into the shape of the input document.
func documentTree(fields []event.Field) *node {
	root := new(node)
	vals := values()
	for i, f := range fields {
		n := root
		n.holds.add(i)
		for _, key := range strings.Split(f.Path, ".") {
			n = n.child(key)
			n.holds.add(i)
		}
		n.field, n.value, n.zero = f, vals[f.Path], zero(f.Kind)
	}
	for _, p := range event.Judged {
		for _, h := range p.Hooks() {
			root.fold(h)
		}
	}
	return root
}

// fold builds once what is the same for all events of a hook; nil if n is not.
func (n *node) fold(h event.Hook) *ast.Term {
	if n.value != nil {
		if slices.Contains(n.field.Hooks, h) {
			return nil
		}
		return n.zero
	}
	constant := true
	items := make([][2]*ast.Term, len(n.children))
	for i, c := range n.children {
		items[i] = [2]*ast.Term{c.key, c.fold(h)}
		constant = constant && items[i][1] != nil
	}
	if !constant {
		return nil
	}
	if n.empty == nil {
		n.empty = map[event.Hook]*ast.Term{}
	}
	n.empty[h] = ast.ObjectTerm(items...)
	return n.empty[h]
}

func (n *node) child(key string) *node {
	for _, c := range n.children {
		if c.key.Value.Compare(ast.String(key)) == 0 {
			return c
		}
	}
	c := &node{key: ast.StringTerm(key)}
	n.children = append(n.children, c)
	return c
}

// build makes the document, or as much of it as holds the needed fields: what
// nothing reads nobody misses.
func (n *node) build(v *view, need fieldSet) *ast.Term {
	if n.value != nil {
		return n.leaf(v)
	}
	if t := n.empty[v.e.Hook]; t != nil {
		return t
	}
	items := make([][2]*ast.Term, 0, len(n.children))
	for _, c := range n.children {
		if c.holds.meets(need) {
			items = append(items, [2]*ast.Term{c.key, c.build(v, need)})
		}
	}
	return ast.ObjectTerm(items...)
}

// at returns the node of a field.
func (n *node) at(path string) *node {
	for _, key := range strings.Split(path, ".") {
		n = n.child(key)
	}
	return n
}

func (n *node) leaf(v *view) *ast.Term {
	if !slices.Contains(n.field.Hooks, v.e.Hook) || !v.has(n.field) {
		return n.zero
	}
	return n.value(v)
}

// has reports whether the part of the event that the field is read from is
// there: a refused fork has no new process, a refused exec no arguments.
func (v *view) has(f event.Field) bool {
	switch {
	case strings.HasPrefix(f.Path, "file."):
		return v.e.File != nil
	case strings.HasPrefix(f.Path, "fork."):
		return v.e.Fork != nil
	case strings.HasPrefix(f.Path, "target."):
		return v.e.Target != nil
	case f.Path == "args" || f.Path == "env" || f.Path == "cwd" || f.Path == "script":
		return v.e.Exec != nil
	}
	return true
}

// number writes n as Rego does; the kernel's numbers are below 2^63.
func number(n uint64) *ast.Term {
	if n < 1<<31 {
		return ast.InternedTerm(int(n))
	}
	return ast.NewTerm(ast.Number(strconv.FormatUint(n, 10)))
}

func stringList(l []string) *ast.Term {
	if len(l) == 0 {
		return ast.InternedEmptyArray
	}
	terms := make([]*ast.Term, len(l))
	for i, s := range l {
		terms[i] = ast.StringTerm(s)
	}
	return ast.ArrayTerm(terms...)
}

func flagList(names []string, mask uint64) *ast.Term {
	var terms []*ast.Term
	for i, n := range names {
		if mask&(1<<i) != 0 {
			terms = append(terms, ast.InternedTerm(n))
		}
	}
	return ast.ArrayTerm(terms...)
}

func stringMap(m map[string]string) *ast.Term {
	if len(m) == 0 {
		return ast.InternedEmptyObject
	}
	items := make([][2]*ast.Term, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		items = append(items, [2]*ast.Term{ast.StringTerm(k), ast.StringTerm(m[k])})
	}
	return ast.ObjectTerm(items...)
}

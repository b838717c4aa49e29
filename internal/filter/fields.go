package filter

import (
	"strings"

	"cel.dev/cel-go/cel"

	"example.com/bailiff/internal/event"
)

// field is what an expression may name.
type field struct {
	name string
	kind *cel.Type
}

// kindOf gives the type of a field of the event table.
func kindOf(k event.Kind) *cel.Type {
	switch k {
	case event.KindInt:
		return cel.IntType
	case event.KindFlags, event.KindPaths, event.KindList, event.KindNames:
		return cel.ListType(cel.StringType)
	case event.KindMap:
		return cel.MapType(cel.StringType, cel.StringType)
	}
	return cel.StringType
}

// fields lists what an expression may name: the fields that rules read, by the
// names that they have there, and what was decided.
func fields() (out []field) {
	known := values()
	for _, f := range event.Fields {
		if known[f.Path] != nil {
			out = append(out, field{f.Path, kindOf(f.Kind)})
		}
	}
	list := cel.ListType(cel.StringType)
	return append(out, []field{
		{"seq", cel.IntType}, {"process.ppid", cel.IntType}, {"process.exec_id", cel.StringType}, {"process.parent_exec_id", cel.StringType},
		{"file.names", list}, {"file.at", cel.StringType}, {"fork.pid", cel.IntType}, {"exit.code", cel.IntType}, {"exit.signal", cel.IntType},
		{"verdict", cel.StringType}, {"effect", cel.StringType}, {"source", cel.StringType}, {"mode", cel.StringType},
		{"rule.id", cel.StringType}, {"rule.severity", cel.StringType}, {"rule.attack", list}, {"rules", list}, {"message", cel.StringType},
		{"late", cel.BoolType}, {"undecided", cel.BoolType}, {"divergence", cel.BoolType}, {"commit", cel.BoolType}, {"fail_open", cel.StringType},
	}...)
}

// activation gives CEL the fields of one event, each when it is asked for.
type activation struct{ e *event.Event }

func (a activation) ResolveName(name string) (any, bool) {
	v := values()[name]
	if v == nil {
		return nil, false
	}
	return v(a.e), true
}

func (activation) Parent() cel.Activation { return nil }

// base is the last component of a path, as rules see names.
func base(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// list and dict are never nil: CEL has no list that is not there.
func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func dict(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

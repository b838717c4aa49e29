package lower

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// strings translates a test of a string field, or of some element of a list of
// paths, against constants: it holds if it does for one of them.
func (t *translator) strings(e *ast.Expr, op ir.Op, f event.Field, vals ...string) formula {
	switch {
	case f.Kind == event.KindDigest:
		return t.digest(e, op, f, vals)
	case f.ID == event.FieldNone || f.Part == event.PartUser:
		return t.notHeld(e, f)
	case f.Kind == event.KindEnum:
		return t.enum(e, op, f, vals)
	case f.Kind == event.KindList:
		return t.textIs(e, op, textRef{field: f}, vals...)
	case f.Kind == event.KindString:
		return t.name(e, op, f, vals)
	case f.Kind == event.KindPaths && op != ir.OpIn && slices.Contains(vals, ""):
		return t.notEmpty(f, e) // every element has that, but there must be one
	}
	switch op {
	case ir.OpIn:
		return t.paths(e, f, vals)
	case ir.OpPrefix:
		return t.prefixes(e, f, vals)
	case ir.OpSuffix:
		return t.suffixes(e, f, vals)
	}
	return t.unknown(CodeContains, "text in the middle of a path has no kernel form", e, e.Location)
}

// enum tries each name of the closed set that the field can have here.
func (t *translator) enum(e *ast.Expr, op ir.Op, f event.Field, vals []string) formula {
	meets := map[ir.Op]func(s, v string) bool{
		ir.OpIn: func(s, v string) bool { return s == v }, ir.OpPrefix: strings.HasPrefix, ir.OpSuffix: strings.HasSuffix, ir.OpContains: strings.Contains,
	}[op]
	var can, met []uint64
	for i, name := range f.Bits {
		if f.ID == event.FieldHook && event.Hook(i).Package() != t.hook {
			continue
		}
		can = append(can, uint64(i))
		if slices.ContainsFunc(vals, func(v string) bool { return meets(name, v) }) {
			met = append(met, uint64(i))
		}
	}
	for _, v := range vals {
		if op == ir.OpIn && !slices.Contains(f.Bits, v) {
			t.report(CodeUnknownFlag, Error, e.Location, fmt.Sprintf("input.%s is never %q", f.Path, v))
			t.found.list[len(t.found.list)-1].Hint = "it is one of: " + strings.Join(f.Bits, ", ")
		}
	}
	if len(met) == len(can) {
		return constant(true)
	}
	return inNums(f, met...)
}

// name: the last component of a path. It holds no slash.
func (t *translator) name(e *ast.Expr, op ir.Op, f event.Field, vals []string) formula {
	var exact []string
	var out []formula
	for _, v := range vals {
		switch {
		case op != ir.OpIn && v == "":
			return constant(true)
		case strings.Contains(v, "/"):
			t.report(CodePathConstant, Warn, e.Location, fmt.Sprintf("%q holds a slash, input.%s never does", v, f.Path))
		case op == ir.OpIn || op == ir.OpSuffix && len(v) <= t.target.Limits.SuffixBytes:
			exact = append(exact, v)
		case op == ir.OpSuffix:
			out = append(out, t.unknown(CodeSuffix, fmt.Sprintf("the suffix is longer than %d bytes", t.target.Limits.SuffixBytes), e, e.Location))
		default:
			out = append(out, t.unknown(CodeNamePrefix, "only the end of a name can be tested in the kernel", e, e.Location))
		}
	}
	return disj(append(out, stringsTest(f, op, exact...))...)
}

// paths: exact paths. The kernel binds each to a file, so it must be one that
// the document can hold.
func (t *translator) paths(e *ast.Expr, f event.Field, vals []string) formula {
	var exact []string
	var out []formula
	for _, v := range vals {
		switch {
		case bindable(v), v == "" && f.ID == event.FieldShell: // "": there is none
			exact = append(exact, v)
		case v == "" || v[0] == '[':
			out = append(out, t.unknown(CodePathConstant, fmt.Sprintf("%q is no file that the kernel could look up", v), e, e.Location))
		default:
			t.report(CodePathConstant, Warn, e.Location, fmt.Sprintf("%q is never equal to a canonical path", v))
		}
	}
	return disj(append(out, in(f, exact...))...)
}

// bindable: absolute and clean.
func bindable(p string) bool { return strings.HasPrefix(p, "/") && path.Clean(p) == p }

// prefixes: a prefix that ends in / is a directory. Another one is weakened to
// the directory that it lies in.
func (t *translator) prefixes(e *ast.Expr, f event.Field, vals []string) formula {
	var exact, weak []string
	var out []formula
	for _, v := range vals {
		switch {
		case v == "":
			return constant(true)
		case v[0] == '[':
			out = append(out, t.unknown(CodePathConstant, fmt.Sprintf("%q is no directory that the kernel could look up", v), e, e.Location))
		case v[0] != '/' || !prefixOfClean(v):
			t.report(CodePathConstant, Warn, e.Location, fmt.Sprintf("no canonical path begins with %q", v))
		case strings.HasSuffix(v, "/"):
			exact = append(exact, v)
		default:
			weak = append(weak, v[:strings.LastIndexByte(v, '/')+1])
		}
	}
	out = append(out, stringsTest(f, ir.OpPrefix, exact...))
	if len(weak) > 0 {
		out = append(out, conj(stringsTest(f, ir.OpPrefix, weak...),
			t.unknown(CodePrefix, "the prefix does not end in /, so it is no directory; the kernel tests the directory above it", e, e.Location)))
	}
	return disj(out...)
}

// prefixOfClean: some clean path begins with v.
func prefixOfClean(v string) bool {
	dir := v[:strings.LastIndexByte(v, '/')+1] // all complete components
	return dir == "/" || path.Clean(dir)+"/" == dir
}

// suffixes: "/x" is the whole name; without a slash it is the end of the name;
// a suffix that spans directories keeps only its last component.
func (t *translator) suffixes(e *ast.Expr, f event.Field, vals []string) formula {
	nameField, ok := t.target.field(strings.TrimSuffix(f.Path, ".path") + ".name")
	if !ok || f.Kind != event.KindPath {
		return t.unknown(CodeSuffix, "the end of a path in input."+f.Path+" cannot be tested", e, e.Location)
	}
	var names, ends []string
	var out []formula
	for _, v := range vals {
		dir, base := v[:strings.LastIndexByte(v, '/')+1], v[strings.LastIndexByte(v, '/')+1:]
		switch {
		case v == "":
			return constant(true)
		case dir == "":
			ends = append(ends, base)
		case base == "":
			out = append(out, t.unknown(CodeSuffix, "only a directory ends in /", e, e.Location))
		case dir == "/":
			names = append(names, base)
		default:
			out = append(out, conj(in(nameField, base),
				t.unknown(CodeSuffix, "the suffix spans directories; the kernel tests its last component", e, e.Location)))
		}
	}
	out = append(out, in(nameField, names...))
	if len(ends) > 0 {
		out = append(out, t.name(e, ir.OpSuffix, nameField, ends))
	}
	return disj(out...)
}

package policy

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"

	"example.com/bailiff/policy/ir"
)

// identityPaths bounds the paths of all identities together.
const identityPaths = 1024

const (
	hintIdentities = `write it as {"bailiff": {"identities": {"shadow": ["/etc/shadow", "/etc/gshadow"]}}}`
	hintOfPath     = "name files by their absolute, clean path; for what lies below a directory there is startswith(input.file.path, ...)"
)

// identities reads data.bailiff.identities: an object from names to lists of
// paths. Without it no file has a name.
func (f *files) identities(ctx context.Context, store storage.Store, txn storage.Transaction) ([]ir.Identity, error) {
	v, err := store.Read(ctx, txn, storage.Path{"bailiff", "identities"})
	if storage.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read identities: %w", err)
	}
	names, ok := v.(ast.Object)
	if !ok {
		return nil, Errors{f.inData(CodeIdentity, "identities", "data.bailiff.identities is no object", hintIdentities)}
	}
	var out []ir.Identity
	var errs Errors
	n := 0
	names.Foreach(func(k, v *ast.Term) {
		name, _ := k.Value.(ast.String)
		id := ir.Identity{Name: string(name)}
		list, _ := v.Value.(*ast.Array)
		if name == "" || list == nil || list.Len() == 0 {
			errs = append(errs, f.inData(CodeIdentity, id.Name, fmt.Sprintf("the identity %q is no list of paths with at least one", printable(id.Name)), hintIdentities))
			return
		}
		list.Foreach(func(x *ast.Term) {
			p, _ := x.Value.(ast.String)
			if why := notIdentity(string(p)); why != "" {
				errs = append(errs, f.inData(CodeIdentity, string(p), fmt.Sprintf("a path of the identity %q %s: %s", printable(id.Name), why, printable(x.String())), hintOfPath))
				return
			}
			id.Paths = append(id.Paths, string(p))
		})
		slices.Sort(id.Paths)
		id.Paths = slices.Compact(id.Paths)
		n += len(id.Paths)
		out = append(out, id)
	})
	if len(out) > ir.MaxIdentities || n > identityPaths {
		errs = append(errs, f.inData(CodeIdentity, "identities", fmt.Sprintf("there are %d identities with %d paths, at most %d with %d are possible", len(out), n, ir.MaxIdentities, identityPaths),
			"files that are always judged alike can share a name; lists of many paths belong into input.file.path in data...."))
	}
	if len(errs) > 0 {
		return nil, errs.sorted()
	}
	slices.SortFunc(out, func(a, b ir.Identity) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// notIdentity says why no file could be found by a path.
func notIdentity(p string) string {
	switch {
	case !strings.HasPrefix(p, "/") || path.Clean(p) != p || p == "/":
		return "is not the absolute, clean path of a file"
	case len(path.Base(p)) > 63:
		return "has a last component of more than 63 bytes"
	}
	return ""
}

// inData makes an error about something that a data file says, at the first
// line that has it in quotes.
func (f *files) inData(code, what, why, hint string) *Error {
	document := map[string]string{CodeIdentity: "identities", CodeShells: "shells"}[code]
	e := &Error{Code: code, Why: why, Hint: hint}
	for _, d := range slices.Concat(f.entries, f.quoted) {
		if !strings.HasPrefix(path.Base(d.path), "data.") || !bytes.Contains(d.data, []byte(document)) && !strings.Contains(d.path, document+"/") {
			continue
		}
		e.File = d.path
		for i, line := range strings.Split(string(d.data), "\n") {
			if at := strings.Index(line, what); at >= 0 {
				e.Line, e.Col, e.Width, e.Source = i+1, at+1, len(what), strings.TrimRight(line, "\r")
				return e
			}
		}
	}
	return e
}

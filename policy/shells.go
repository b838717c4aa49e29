package policy

import (
	"context"
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"

	"example.com/bailiff/internal/event"
)

// mostShells bounds the paths of shells.
const mostShells = 256

const hintShells = `write it as {"bailiff": {"shells": ["/bin/bash", "/usr/bin/zsh"]}}`

// shells reads data.bailiff.shells: a list of paths, which takes the place of
// event.Shells. An empty one says that no program is a shell.
func (f *files) shells(ctx context.Context, store storage.Store, txn storage.Transaction) ([]string, error) {
	v, err := store.Read(ctx, txn, storage.Path{"bailiff", "shells"})
	if storage.IsNotFound(err) {
		return slices.Sorted(slices.Values(event.Shells())), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read shells: %w", err)
	}
	list, ok := v.(*ast.Array)
	if !ok {
		return nil, Errors{f.inData(CodeShells, "shells", "data.bailiff.shells is no list of paths", hintShells)}
	}
	out := []string{}
	var errs Errors
	list.Foreach(func(x *ast.Term) {
		p, _ := x.Value.(ast.String)
		if why := notIdentity(string(p)); why != "" {
			errs = append(errs, f.inData(CodeShells, string(p), fmt.Sprintf("a path of data.bailiff.shells %s: %s", why, printable(x.String())), hintShells))
			return
		}
		out = append(out, string(p))
	})
	if len(out) > mostShells {
		errs = append(errs, f.inData(CodeShells, "shells", fmt.Sprintf("there are %d shells, at most %d are possible", len(out), mostShells), hintShells))
	}
	if len(errs) > 0 {
		return nil, errs.sorted()
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

package policy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/storage"
)

const hintSnapshot = "a delta has patch.json and .manifest and nothing else; publish a whole bundle instead"

// readDelta takes the changes out of a bundle of changes.
func (a *Archive) readDelta(m bundle.Manifest) error {
	b, err := a.files.read()
	if err != nil {
		return asDelta(err)
	}
	if m.Roots != nil {
		a.roots = *b.Manifest.Roots
	}
	if a.options.Keys != nil && a.Base == "" {
		return Errors{{Code: CodeDelta, File: bundle.ManifestExt, Why: "a signed delta does not say which revision it is for",
			Hint: `name it in the manifest: "metadata": {"bailiff": {"base": "v11"}}; otherwise signed changes could be replayed in another order`}}
	}
	a.patches = b.Patch.Data
	return nil
}

func asDelta(err error) error {
	if list, ok := err.(Errors); ok {
		for _, e := range list {
			e.Code, e.Hint = CodeDelta, hintSnapshot
			if e.File == "" {
				e.File = patchFile
			}
		}
	}
	return err
}

// Patch returns the bundle that a delta makes of this one.
func (a *Archive) Patch(delta *Archive) (*Archive, error) {
	if delta.Base != "" && delta.Base != a.Revision {
		return nil, Errors{{Code: CodeDelta, File: bundle.ManifestExt, Why: fmt.Sprintf("the delta is for revision %s, but %s is in force", printable(delta.Base), printable(a.Revision)),
			Hint: "a whole bundle is asked for next"}}
	}
	out := *a
	out.Revision, out.Serial, out.KeyID, out.Base = delta.Revision, delta.Serial, delta.KeyID, ""
	out.patches = append(slices.Clone(a.patches), delta.patches...)
	out.Digest = sha256.Sum256(append(a.Digest[:], delta.Digest[:]...))
	if strings.HasPrefix(delta.Revision, "sha256:") {
		out.Revision = short16(out.Digest)
	}
	return &out, nil
}

// apply makes the changes in a store, all or none.
func (a *Archive) apply(ctx context.Context, store storage.Store, roots []string) error {
	txn, err := store.NewTransaction(ctx, storage.WriteParams)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	for i, p := range a.patches {
		if err := patch(ctx, store, txn, roots, p); err != nil {
			store.Abort(ctx, txn)
			return Errors{{Code: CodeDelta, File: patchFile, Why: fmt.Sprintf("change %d (%s %s) cannot be made: %v", i+1, printable(p.Op), printable(p.Path), err),
				Hint: "the delta does not fit the bundle that is in force; a whole bundle is asked for next"}}
		}
	}
	if err := store.Commit(ctx, txn); err != nil {
		return fmt.Errorf("commit changes: %w", err)
	}
	return nil
}

func patch(ctx context.Context, store storage.Store, txn storage.Transaction, roots []string, p bundle.PatchOperation) error {
	at := strings.Trim(p.Path, "/")
	if !bundle.RootPathsContain(roots, at) {
		return fmt.Errorf("the roots of the bundle %v do not cover it", roots)
	}
	// As in a JSON pointer.
	var path storage.Path
	for _, key := range strings.Split(at, "/") {
		path = append(path, strings.NewReplacer("~1", "/", "~0", "~").Replace(key))
	}
	if at == "" {
		return fmt.Errorf("it names no place in data")
	}
	switch p.Op {
	case "upsert":
		if _, err := store.Read(ctx, txn, path[:len(path)-1]); storage.IsNotFound(err) {
			if err := storage.MakeDir(ctx, store, txn, path[:len(path)-1]); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		return store.Write(ctx, txn, storage.AddOp, path, p.Value)
	case "replace":
		return store.Write(ctx, txn, storage.ReplaceOp, path, p.Value)
	case "remove":
		return store.Write(ctx, txn, storage.RemoveOp, path, nil)
	}
	return fmt.Errorf("%q is not one of upsert, replace, remove", printable(p.Op))
}

package lower

import (
	"context"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
)

// bigData lists the data documents with more entries than limit and no rules
// below them. They are unknown to partial evaluation, which would otherwise
// make one alternative of each entry.
func bigData(ctx context.Context, src Source, limit int) ([]*ast.Term, error) {
	v, err := src.Store.Read(ctx, src.Txn, storage.RootPath)
	if err != nil {
		return nil, fmt.Errorf("read data: %w", err)
	}
	root, ok := v.(ast.Value)
	if !ok {
		if root, err = ast.InterfaceToValue(v); err != nil {
			return nil, fmt.Errorf("convert data: %w", err)
		}
	}
	var out []*ast.Term
	var visit func(ref ast.Ref, v ast.Value)
	visit = func(ref ast.Ref, v ast.Value) {
		if len(ref) > 1 && entries(v, limit) > limit && len(src.Compiler.GetRules(ref)) == 0 {
			if o, ok := v.(ast.Object); !ok || o.Len() > limit {
				out = append(out, ast.NewTerm(ref))
				return
			}
		}
		if o, ok := v.(ast.Object); ok {
			o.Foreach(func(k, x *ast.Term) { visit(ref.Append(k), x.Value) })
		}
	}
	visit(ast.DefaultRootRef.Copy(), root)
	return out, nil
}

// entries counts what a value holds, in all depths of arrays, up to just above limit.
func entries(v ast.Value, limit int) int {
	switch v := v.(type) {
	case ast.Object:
		return v.Len()
	case *ast.Array:
		n := v.Len()
		for i := 0; i < v.Len() && n <= limit; i++ {
			n += entries(v.Elem(i).Value, limit)
		}
		return n
	}
	return 0
}

// read returns the base document at a constant reference, nil if there is none.
func (t *translator) read(r ast.Ref) ast.Value {
	if !r.HasPrefix(ast.DefaultRootRef) || len(r.ConstantPrefix()) != len(r) || len(t.Compiler.GetRules(r)) > 0 {
		return nil
	}
	path, err := storage.NewPathForRef(r)
	if err != nil {
		return nil
	}
	v, err := t.Store.Read(t.ctx, t.Txn, path)
	if err != nil {
		return nil
	}
	if x, ok := v.(ast.Value); ok {
		return x
	}
	x, err := ast.InterfaceToValue(v)
	if err != nil {
		return nil
	}
	return x
}

package policy

import (
	"bytes"
	"io/fs"
	"path"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"example.com/bailiff/rules"
)

// TestRulesAreClean: what ships is as `opa fmt` writes it, and passes
// `opa check --strict --schema` with the schemas that `bailiff schema` prints;
// tests too, with the input that they make up.
func TestRulesAreClean(t *testing.T) {
	for name, bundle := range map[string]fs.FS{"baseline": rules.FS, "starter": rules.Starter} {
		modules := map[string]*ast.Module{}
		err := fs.WalkDir(bundle, ".", func(p string, _ fs.DirEntry, err error) error {
			if err != nil || path.Ext(p) != ".rego" {
				return err
			}
			src, err := fs.ReadFile(bundle, p)
			if err != nil {
				return err
			}
			want, err := format.SourceWithOpts(p, src, format.Opts{RegoVersion: ast.RegoV1})
			if err != nil {
				return err
			}
			if !bytes.Equal(src, want) {
				t.Errorf("%s/%s: not as opa fmt writes it", name, p)
			}
			m, err := ast.ParseModuleWithOpts(p, string(src), ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1})
			if err != nil {
				return err
			}
			modules[p] = m
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(modules) < 6 {
			t.Errorf("%s: only %d modules", name, len(modules))
		}
		schemas := ast.NewSchemaSet()
		schemas.Put(ast.MustParseRef("schema.input"), Schema())
		schemas.Put(ast.SchemaRootRef, Schema())
		c := ast.NewCompiler().WithStrict(true).WithSchemas(schemas).WithUseTypeCheckAnnotations(true)
		if c.Compile(modules); c.Failed() {
			t.Errorf("%s: %v", name, c.Errors)
		}
	}
}

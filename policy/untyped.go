package policy

import (
	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/types"
)

// Partial evaluation in OPA 1.22.2 drops a residual body that does not type
// check, on the ground that it could never succeed. That is wrong below "not":
// with input typed by a schema, "not input.file.path in data.x" vanishes when
// data.x turns out to be an object of booleans, although it always holds. So
// types are checked once, with the schema, and then thrown away: the modules
// are compiled again in a world where everything may be of any type.

// untyped are capabilities whose built-ins take and give values of any type.
func untyped(c *ast.Capabilities) *ast.Capabilities {
	out := *c
	out.Builtins = make([]*ast.Builtin, len(c.Builtins))
	for i, b := range c.Builtins {
		cp := *b
		cp.Decl = anyFunction(b.Decl)
		out.Builtins[i] = &cp
	}
	return &out
}

func anyFunction(f *types.Function) *types.Function {
	args := make([]types.Type, f.Arity())
	for i := range args {
		args[i] = types.A
	}
	var result types.Type
	if f.Result() != nil {
		result = types.A
	}
	if f.FuncArgs().Variadic != nil {
		return types.NewVariadicFunction(args, types.A, result)
	}
	return types.NewFunction(args, result)
}

// compileUntyped compiles modules that have passed the type check once more.
// The types of rules are forgotten too: a function that returns numbers may be
// compared with a string below "not".
func compileUntyped(c *ast.Compiler, modules map[string]*ast.Module) ast.Errors {
	caps := untyped(Capabilities())
	if c.WithCapabilities(caps).WithSkipStages(ast.StageCheckTypes, ast.StageBuildRequiredCapabilities).Compile(modules); c.Failed() {
		return c.Errors
	}
	seen := map[string]bool{}
	for _, m := range c.Modules {
		for _, r := range m.Rules {
			name := m.Package.Path.Extend(r.Head.Ref()).String()
			if n := len(r.Head.Args); n > 0 && !seen[name] {
				seen[name] = true
				args := make([]types.Type, n)
				for i := range args {
					args[i] = types.A
				}
				caps.Builtins = append(caps.Builtins, &ast.Builtin{Name: name, Decl: types.NewFunction(args, types.A)})
			}
		}
	}
	env := ast.NewCompiler().WithCapabilities(caps)
	if env.Compile(nil); env.Failed() {
		return env.Errors
	}
	c.TypeEnv = env.TypeEnv
	return nil
}

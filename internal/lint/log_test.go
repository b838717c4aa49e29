package lint

import (
	"go/ast"
	"go/token"
	"strings"
	"testing"
)

// TestLogCalls finds log lines that a machine cannot read: a message that is
// not constant, arguments that are not pairs, keys that are not constant words.
func TestLogCalls(t *testing.T) {
	for _, f := range goFiles(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			fun, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := fun.X.(*ast.Ident); ok && x.Name == "hclog" && (fun.Sel.Name == "Default" || fun.Sel.Name == "L") {
				t.Errorf("%s: the logger is passed in, there is no global one", f.at(call))
			}
			if !isLogger(fun.X) {
				return true
			}
			args := call.Args
			switch fun.Sel.Name {
			case "Trace", "Debug", "Info", "Warn", "Error":
				if len(args) == 0 || !isText(args[0]) {
					t.Errorf("%s: the message is not a constant string", f.at(call))
					return true
				}
				args = args[1:]
			case "With":
			default:
				return true
			}
			if call.Ellipsis.IsValid() {
				return true
			}
			if len(args)%2 != 0 {
				t.Errorf("%s: a key without a value", f.at(call))
			}
			for i := 0; i < len(args); i += 2 {
				if !isText(args[i]) || strings.ContainsAny(args[i].(*ast.BasicLit).Value, " =") {
					t.Errorf("%s: argument %d is not a constant key", f.at(call), i+1)
				}
			}
			return true
		})
	}
}

// isLogger goes by the name that loggers have in this repository.
func isLogger(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "log"
	case *ast.SelectorExpr:
		return e.Sel.Name == "log" || e.Sel.Name == "Log"
	}
	return false
}

func isText(e ast.Expr) bool {
	lit, ok := e.(*ast.BasicLit)
	return ok && lit.Kind == token.STRING
}

// TestLoggersAreCalledLog makes TestLogCalls see them all: a parameter, field
// or variable of type hclog.Logger has that name.
func TestLoggersAreCalledLog(t *testing.T) {
	for _, f := range goFiles(t) {
		ast.Inspect(f.ast, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok {
				return true
			}
			sel, ok := field.Type.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "hclog" || sel.Sel.Name != "Logger" {
				return true
			}
			for _, name := range field.Names {
				if name.Name != "log" && name.Name != "Log" && name.Name != "_" {
					t.Errorf("%s: a logger called %s", f.at(name), name.Name)
				}
			}
			return true
		})
	}
}

package lower

import (
	"fmt"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// digest translates a test of a digest of the file. Only whole digests are in the
// kernel's tables; "" is what file.sha256 holds where it is not known, and
// file.verity of a file that has none.
func (t *translator) digest(e *ast.Expr, op ir.Op, f event.Field, vals []string) formula {
	of := event.FieldNone // what the target lacks has no number there
	if known, ok := event.FieldByPath(f.Path); ok {
		of = known.ID
	}
	never := slices.DeleteFunc(slices.Clone(vals), func(v string) bool { return v == "" || ir.IsDigest(of, v) })
	if op == ir.OpIn && len(never) > 0 {
		slices.Sort(never)
		why := fmt.Sprintf("input.%s is never %q", f.Path, shorten(never[0]))
		if more := len(slices.Compact(never)) - 1; more > 0 {
			why += fmt.Sprintf(", nor are %d other values", more)
		}
		t.report(CodeDigest, Warn, e.Location, why)
	}
	if !t.target.holds(f, ir.OpIn) {
		return t.notHeld(e, f)
	}
	if op != ir.OpIn {
		if slices.Contains(vals, "") {
			return constant(true)
		}
		return t.unknown(CodeDigest, "a part of a digest has no kernel form", e, e.Location)
	}
	return in(f, slices.DeleteFunc(slices.Clone(vals), func(v string) bool { return v != "" && !ir.IsDigest(of, v) })...)
}

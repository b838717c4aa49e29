package policy

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"
)

// maxWidth is how wide a verb of sprintf may make its text.
const maxWidth = 999

// checkCosts looks for what the deadline of an evaluation does not stop: OPA
// asks between expressions whether time is up, not within a built-in, and
// sprintf("%1000000000d", [1]) is one call.
func checkCosts(c *ast.Compiler, f *files) error {
	verb := regexp.MustCompile(`%[-+# 0]*(\[\d+\])?(\*|\d+)?(\.(\[\d+\])?(\*|\d+)?)?`)
	var errs Errors
	for _, file := range sortedKeys(c.Modules) {
		check := func(at *ast.Location, terms []*ast.Term) {
			if len(terms) < 2 || !ast.Sprintf.Ref().Equal(terms[0].Value) {
				return
			}
			if at == nil {
				at = terms[0].Location
			}
			format, ok := terms[1].Value.(ast.String)
			if !ok {
				errs = append(errs, f.at(CodeUnbounded, at, "the format of sprintf is computed, so its cost is not known", "write the format as a string in the call"))
				return
			}
			for _, m := range verb.FindAllStringSubmatch(string(format), -1) {
				for _, width := range []string{m[2], m[5]} {
					if n, err := strconv.Atoi(width); width == "*" || width != "" && (err != nil || n > maxWidth) {
						errs = append(errs, f.at(CodeUnbounded, at, fmt.Sprintf("sprintf would write a text of width %s", width), fmt.Sprintf("a width may be %d at most", maxWidth)))
					}
				}
			}
		}
		ast.WalkExprs(c.Modules[file], func(e *ast.Expr) bool {
			if terms, ok := e.Terms.([]*ast.Term); ok {
				check(e.Location, terms)
			}
			return false
		})
		ast.WalkTerms(c.Modules[file], func(t *ast.Term) bool {
			if call, ok := t.Value.(ast.Call); ok {
				check(t.Location, call)
			}
			return false
		})
	}
	if len(errs) > 0 {
		return errs.sorted()
	}
	return nil
}

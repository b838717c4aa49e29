package policy

import (
	"regexp"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// hint is what to do about a message of OPA's parser or compiler. In the text
// $1 stands for what the pattern has found.
type hint struct {
	message *regexp.Regexp
	text    string
}

// compileHints is in order: the first that matches counts.
func compileHints() []hint {
	h := func(pattern, text string) hint { return hint{regexp.MustCompile(pattern), text} }
	return []hint{
		h("`contains` keyword is required", `write: deny contains "why" if { ... }`),
		h("`if` keyword is required", "write if between the head of the rule and its body: deny contains \"why\" if { ... }"),
		h(`unexpected eof`, "something that was opened is not closed: a brace, a bracket or a quote"),
		h(`unexpected identifier token.*expected \\n or ; or }`, "put each condition on a line of its own, or ; between them"),
		h(`var cannot be used for rule name`, "a rule begins with its name: deny contains \"why\" if { ... }"),
		h(`illegal token|unexpected .* token|non-terminated|illegal`, `a rule is: deny contains "why" if { conditions, one a line }; the caret stands where that could not be read on`),
		h(`no match found|rego_parse_error`, `a rule is: deny contains "why" if { conditions, one a line }`),
		h(`^var (\S+) is unsafe`, "give $1 a value first: some $1 in a list, or $1 := a value; below not a variable must have one already"),
		h(`^expression is unsafe`, "each variable needs a value before it is used: some x in a list, or x := a value"),
		h(`is recursive`, "a rule cannot ask for itself, not even by way of others: walk lists with some ... in, trees with walk() or graph.reachable"),
		h(`^(?:assigned|declared) var (\S+) unused`, "remove $1, or name it _ if something must stand there"),
		h(`^unused argument (\S+)\.?`, "name it _ instead of $1, or remove it from the function and its callers"),
		h(`^import (\S+) unused`, "remove the line"),
		h(`import must not shadow|imports? .*shadow`, "remove one of the imports, or give it another name: import ... as name"),
		h(`var (\S+) (?:referenced above|assigned above|declared above)`, "declare $1 before it is used, or take another name"),
		h(`multiple default rules`, "leave one default"),
		h(`conflicting rule for data path`, "a rule and the data of the bundle have one name: give one of them another"),
		h(`conflicting rules|conflict|multiple rules? .* incompatible`, "rules of one name must be of one kind: all sets (contains), all values, or all functions of the same number of arguments"),
		h(`arity mismatch|has arity|too (?:many|few) arguments`, "count the arguments: the built-in or function takes another number"),
		h(`invalid argument\(s\)`, "an argument is of a type that the function does not take; docs/input.md has the types of the fields"),
		h(`undefined ref: data\.`, "there is no such rule; data of the bundle is named by the path of its file: exceptions/data.json is data.exceptions"),
		h(`undefined ref`, "the thing before the last dot has no such part; docs/input.md lists the fields"),
		h(`with keyword`, "with is for tests: a rule must not replace input or data for others"),
		h(`annotation|metadata|METADATA`, "a block begins with # METADATA alone on its line, and is YAML below it, each line begun with #, directly above the rule"),
		h(`is shadowing|must not shadow|shadowed`, "take another name: this one stands for something else already"),
		h(`deprecated`, "use what the message names instead"),
	}
}

// hintFor finds what to do; there is always something to say.
func hintFor(e *ast.Error) string {
	first, _, _ := strings.Cut(e.Message, "\n")
	for _, h := range compileHints() {
		if at := h.message.FindStringSubmatchIndex(first); at != nil {
			return string(h.message.ExpandString(nil, h.text, first, at))
		}
	}
	if e.Code == ast.ParseErr {
		return `a rule is: deny contains "why" if { conditions, one a line }`
	}
	return "`opa check --strict` says the same; the documentation of Rego explains it"
}

// nearestBuiltin names the function that is closest to a misspelt one.
func nearestBuiltin(name string) string {
	best, cost := "", len(name)/3+2
	for _, b := range Capabilities().Builtins {
		if d := distance(name, b.Name); d < cost && b.Infix == "" {
			best, cost = b.Name, d
		}
	}
	if best == "" {
		return "it is neither a built-in function nor one of the bundle; `opa capabilities --current` lists the built-ins"
	}
	return "did you mean " + best + "?"
}

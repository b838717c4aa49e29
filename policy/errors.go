package policy

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Error is one thing that is wrong with a bundle, said to its author.
type Error struct {
	Code   string `json:"code"`            // stable: P001..., or a code of package lower
	File   string `json:"file,omitempty"`  // within the bundle
	Line   int    `json:"line,omitempty"`  // from 1; 0 if there is no place
	Col    int    `json:"col,omitempty"`   // from 1, in bytes
	Width  int    `json:"width,omitempty"` // bytes of the line, from Col on, that it is about; 0 if not known
	Why    string `json:"why"`
	Hint   string `json:"hint,omitempty"`
	Source string `json:"source,omitempty"` // the source line
}

// Codes of load errors.
const (
	CodeRead       = "P001" // the bundle or a file in it cannot be read
	CodeParse      = "P002" // Rego syntax
	CodeCompile    = "P003" // Rego compile error: unsafe variable, recursion, unused import, ...
	CodeType       = "P004" // a type does not fit, or the field does not exist
	CodeBuiltin    = "P005" // the built-in is not available in policies
	CodeEmpty      = "P006" // no rule in bailiff.exec, bailiff.open or bailiff.fork
	CodeShape      = "P007" // deny and alert must be partial sets
	CodeAnnotation = "P008" // an annotation has a value that is not understood
	CodeDuplicate  = "P009" // two rules have the same id
	// P010 was given out once and is not used again.
	CodePackage   = "P011" // a package below bailiff that is not a hook
	CodeArchive   = "P012" // the archive is damaged, or holds what no bundle has
	CodeLimit     = "P013" // the bundle, or one thing in it, is too large
	CodeSignature = "P014" // the signature is missing, or not by a key that is configured
	CodeManifest  = "P015" // the manifest is not understood, or does not permit the content
	CodeDelta     = "P016" // the changes do not fit the bundle in force
	CodeRollback  = "P017" // the bundle is older than the one in force
	CodeUnbounded = "P018" // loading or evaluating it takes more time or memory than it may
	CodePack      = "P019" // a pack lacks data, or is given data that it does not read
	CodeIdentity  = "P020" // data.bailiff.identities is not understood
	CodeShells    = "P021" // data.bailiff.shells is not understood
	CodeScenario  = "P030" // a scenario file of the tests is not understood
)

// Error returns place, code and reason on one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
			if e.Col > 0 {
				fmt.Fprintf(&b, ":%d", e.Col)
			}
		}
		b.WriteString(": ")
	}
	fmt.Fprintf(&b, "%s %s", e.Code, e.Why)
	return b.String()
}

// Errors is everything that is wrong with a bundle, in source order.
type Errors []*Error

// Error returns the first error and how many follow.
func (es Errors) Error() string {
	switch len(es) {
	case 0:
		return "no errors"
	case 1:
		return es[0].Error()
	}
	return fmt.Sprintf("%s (and %d more)", es[0].Error(), len(es)-1)
}

// Unwrap lets errors.As find each *Error.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

func (es Errors) sorted() Errors {
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	return es
}

// FormatErrors writes a load error for a person: place, reason, the source
// line with a caret, and what to do. Other errors are written as they are.
func FormatErrors(w io.Writer, err error) error {
	var list Errors
	var one *Error
	switch {
	case errors.As(err, &list):
	case errors.As(err, &one):
		list = Errors{one}
	default:
		_, werr := fmt.Fprintln(w, err)
		return werr
	}
	_, werr := io.WriteString(w, list.Detail())
	return werr
}

// Detail is FormatErrors as a text.
func (es Errors) Detail() string {
	var b strings.Builder
	for _, e := range es {
		e.format(&b, "error")
	}
	return b.String()
}

// Detail is FormatErrors as a text.
func (e *Error) Detail() string { return Errors{e}.Detail() }

func (e *Error) format(b *strings.Builder, kind string) {
	fmt.Fprintf(b, "%s: %s\n", kind, e.Error())
	if e.Source != "" {
		fmt.Fprintf(b, "  %4d | %s\n", e.Line, e.Source)
		if e.Col > 0 && e.Col <= len(e.Source)+1 {
			fmt.Fprintf(b, "       | %s^%s\n", blank(e.Source[:e.Col-1]), strings.Repeat("~", e.tail()))
		}
	}
	if e.Hint != "" {
		fmt.Fprintf(b, "  hint: %s\n", e.Hint)
	}
}

// tail is how many characters after the first one the error is about.
func (e *Error) tail() int {
	from := e.Col - 1
	if e.Width < 2 || from+e.Width > len(e.Source) {
		return 0
	}
	return utf8.RuneCountInString(e.Source[from:from+e.Width]) - 1
}

// blank keeps tabs, so that the caret stands under the right column.
func blank(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return r
		}
		return ' '
	}, s)
}

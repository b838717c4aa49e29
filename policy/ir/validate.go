package ir

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"example.com/bailiff/internal/event"
)

// Validate reports the first condition that has no meaning in kernel tables:
// a test that does not belong to the kind of its field, a prefix that is no
// directory, values that are not sorted. A program made by package lower never
// has one; a backend may check before it builds tables.
func (p *Program) Validate() error {
	if len(p.Identities) > MaxIdentities {
		return fmt.Errorf("validate identities: %d names, at most %d", len(p.Identities), MaxIdentities)
	}
	for _, h := range event.Judged {
		for i := range p.Rules[h] {
			r := &p.Rules[h][i]
			for j := range r.Clauses {
				for k := range r.Clauses[j].When {
					if err := r.Clauses[j].When[k].validate(h); err != nil {
						return fmt.Errorf("validate %s rule %s, clause %d: %w", h, r.Ref.ID, j, err)
					}
				}
			}
		}
	}
	return nil
}

// suffixBytes is the longest suffix of a name that kernel tables hold.
const suffixBytes = 24

func (c *Cond) validate(h event.Hook) error {
	f := event.FieldByID(c.Field)
	if f.ID == event.FieldNone || f.Part == event.PartUser {
		return fmt.Errorf("field %d is not in the kernel", c.Field)
	}
	if !f.In(h) {
		return fmt.Errorf("%s does not apply to %s", f.Path, h)
	}
	bad := func(what string) error { return fmt.Errorf("%s: %s", c.String(), what) }
	if !sortedUnique(c.Strs) || !sortedUnique(c.Nums) || !sortedUnique(c.Under) {
		return bad("values are not sorted")
	}
	if f.Part == event.PartCommit && c.IsText() {
		return c.validateText(bad)
	}
	switch {
	case c.Outside && f.Kind != event.KindPaths, len(c.Under) > 0 && (!c.Outside || c.Op != OpIn):
		return bad("wants a list of paths")
	case slices.ContainsFunc(c.Under, notDir):
		return bad("wants directories")
	}
	isPath := f.Kind == event.KindPath || f.Kind == event.KindPaths
	switch c.Op {
	case OpIn:
		return c.validateIn(f, isPath, bad)
	case OpPrefix:
		if !isPath || len(c.Strs) == 0 || slices.ContainsFunc(c.Strs, notDir) {
			return bad("wants directories of a path field")
		}
	case OpSuffix:
		if f.Kind != event.KindString || len(c.Strs) == 0 || slices.ContainsFunc(c.Strs, func(s string) bool {
			return s == "" || len(s) > suffixBytes || strings.Contains(s, "/")
		}) {
			return bad("wants short ends of a name")
		}
	case OpLess:
		if f.Kind != event.KindInt && c.Field != event.FieldArgs || len(c.Nums) != 1 || c.Nums[0] == 0 || c.Nums[0] >= 1<<63 {
			return bad("wants one bound within the range of numbers")
		}
	case OpMaskEq:
		if f.Kind != event.KindInt || len(c.Nums) != 1 || c.Nums[0]&^c.Mask != 0 || c.Mask == 0 {
			return bad("wants a value within its mask")
		}
	case OpMaskAny:
		if f.Kind != event.KindInt && f.Kind != event.KindFlags || c.Mask == 0 {
			return bad("wants a mask of a number or of flags")
		}
	case OpSame:
		o := event.FieldByID(c.Other)
		if f.Kind != event.KindInt || o.Kind != event.KindInt || o.ID == event.FieldNone || c.Other == c.Field {
			return bad("wants two number fields")
		}
	default:
		return bad("unknown test")
	}
	return nil
}

func notDir(s string) bool {
	return s != "/" && (!strings.HasPrefix(s, "/") || path.Clean(s)+"/" != s)
}

func (c *Cond) validateText(bad func(string) error) error {
	switch c.Op {
	case OpIn, OpPrefix, OpSuffix, OpContains:
	case OpRegex:
		for _, s := range c.Strs {
			if _, err := regexp.Compile(s); err != nil {
				return bad(err.Error())
			}
		}
	default:
		return bad("is no test of text")
	}
	switch {
	case len(c.Strs) == 0 || slices.ContainsFunc(c.Strs, func(s string) bool { return strings.Contains(s, "\x00") }):
		return bad("wants strings without NUL")
	case c.Field == event.FieldEnv && (c.Var == "" || strings.ContainsAny(c.Var, "=\x00")) || c.Field == event.FieldArgs && (c.Var != "" || c.At < 0):
		return bad("wants the name of a variable or the index of an argument")
	}
	return nil
}

func (c *Cond) validateIn(f event.Field, isPath bool, bad func(string) error) error {
	switch {
	case f.Kind == event.KindInt || c.Field == event.FieldArgs:
		if len(c.Strs) > 0 || len(c.Nums) == 0 || c.Nums[len(c.Nums)-1] >= 1<<63 {
			return bad("wants numbers")
		}
	case isPath:
		if len(c.Nums) > 0 || len(c.Strs) == 0 || slices.ContainsFunc(c.Strs, func(s string) bool {
			return (!strings.HasPrefix(s, "/") || path.Clean(s) != s) && (s != "" || c.Field != event.FieldShell)
		}) {
			return bad("wants clean absolute paths")
		}
	case f.Kind == event.KindNames:
		if len(c.Nums) > 0 || len(c.Strs) == 0 {
			return bad("wants names of files")
		}
	case f.Kind == event.KindEnum:
		if len(c.Strs) > 0 || len(c.Nums) == 0 || c.Nums[len(c.Nums)-1] >= uint64(len(f.Bits)) {
			return bad("wants numbers of names")
		}
	case f.Kind == event.KindDigest:
		if len(c.Nums) > 0 || len(c.Strs) == 0 || slices.ContainsFunc(c.Strs, func(s string) bool { return s != "" && !IsDigest(c.Field, s) }) {
			return bad("wants digests")
		}
	case f.Kind == event.KindString:
		if len(c.Nums) > 0 || len(c.Strs) == 0 || slices.ContainsFunc(c.Strs, func(s string) bool { return strings.Contains(s, "/") }) {
			return bad("wants names")
		}
	default:
		return bad("is no test of this kind of field")
	}
	return nil
}

// IsDigest reports whether s is a digest as a field has it: 64 lower-case hex digits
// of SHA-256; of fs-verity these after "sha256:", or 128 after "sha512:".
func IsDigest(f event.FieldID, s string) bool {
	digits := 64
	if f == event.FieldVerity {
		algorithm, sum, _ := strings.Cut(s, ":")
		if s = sum; algorithm == "sha512" {
			digits = 128
		} else if algorithm != "sha256" {
			return false
		}
	}
	return len(s) == digits && strings.Trim(s, "0123456789abcdef") == ""
}

func sortedUnique[T string | uint64](l []T) bool {
	for i := 1; i < len(l); i++ {
		if l[i-1] >= l[i] {
			return false
		}
	}
	return true
}

package ir

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"example.com/bailiff/internal/event"
)

// shown is how many values of a set are printed before it is cut.
const shown = 8

// Print writes a program for people and golden files: hooks in wire order,
// rules in the order in which they win, one clause a line.
func Print(w io.Writer, p *Program) error {
	var b strings.Builder
	for _, h := range event.Judged {
		for i := range p.Rules[h] {
			r := &p.Rules[h][i]
			fmt.Fprintf(&b, "%s %d: %s %s\n", h, i, r.kind(), r.Ref.ID)
			for j := range r.Clauses {
				fmt.Fprintf(&b, "\t%s\n", r.Clauses[j].String())
			}
			if len(r.Clauses) == 0 {
				b.WriteString("\tnever\n")
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *Rule) kind() string {
	s := r.Verdict.String()
	if r.Audit {
		s += " (audit)"
	}
	if r.Enforce {
		s += " (enforce)"
	}
	if r.Kill {
		s += " (kill)"
	}
	if r.Hold {
		s += " (held)"
	}
	if r.Undecided == UndecidedDeny {
		s += " (undecided: deny)"
	}
	return s
}

// String returns the clause as one line.
func (c *Clause) String() string {
	parts := make([]string, 0, len(c.When)+1)
	for i := range c.When {
		parts = append(parts, c.When[i].String())
	}
	switch {
	case c.Maybe:
		parts = append(parts, "maybe(reads "+strings.Join(c.Reads, ", ")+")")
	case len(c.When) == 0:
		return "always"
	}
	return strings.Join(parts, " and ")
}

// String returns the condition as a person would write it.
func (c *Cond) String() string {
	f := event.FieldByID(c.Field)
	name := f.Path
	if c.Field == event.FieldArgs && len(c.Nums) > 0 {
		name = "count(args)"
	} else if c.IsText() {
		return c.text(name)
	} else if c.Outside {
		return c.elements(name)
	}
	switch c.Op {
	case OpIn:
		if f.Kind == event.KindEnum {
			names := Cond{}
			for _, n := range c.Nums {
				names.Strs = append(names.Strs, f.Bits[n])
			}
			if len(names.Strs) == 1 {
				return fmt.Sprintf("%s %s %q", name, pick(c.Negated, "!=", "=="), names.Strs[0])
			}
			return fmt.Sprintf("%s %s %s", name, pick(c.Negated, "not in", "in"), names.set())
		}
		if len(c.Nums) == 1 {
			return fmt.Sprintf("%s %s %d", name, pick(c.Negated, "!=", "=="), c.Nums[0])
		}
		if len(c.Strs) == 1 && f.Kind != event.KindPaths && f.Kind != event.KindNames {
			return fmt.Sprintf("%s %s %q", name, pick(c.Negated, "!=", "=="), c.Strs[0])
		}
		return fmt.Sprintf("%s %s %s", name, pick(c.Negated, "not in", "in"), c.set())
	case OpPrefix:
		return fmt.Sprintf("%s %s %s", name, pick(c.Negated, "not below", "below"), c.set())
	case OpSuffix:
		return fmt.Sprintf("%s %s %s", name, pick(c.Negated, "not ending in", "ending in"), c.set())
	case OpLess:
		return fmt.Sprintf("%s %s %d", name, pick(c.Negated, ">=", "<"), c.Nums[0])
	case OpMaskEq:
		return fmt.Sprintf("%s & %#x %s %#x", name, c.Mask, pick(c.Negated, "!=", "=="), c.Nums[0])
	case OpMaskAny:
		if f.Kind == event.KindFlags {
			return fmt.Sprintf("%s %s {%s}", name, pick(c.Negated, "has none of", "has any of"),
				strings.Join(event.FlagNames(f.Bits, c.Mask), ", "))
		}
		return fmt.Sprintf("%s & %#x %s 0", name, c.Mask, pick(c.Negated, "==", "!="))
	case OpSame:
		return fmt.Sprintf("%s %s %s", name, pick(c.Negated, "!=", "=="), event.FieldByID(c.Other).Path)
	}
	return fmt.Sprintf("%s op(%d)", name, c.Op)
}

// elements writes what some element does not pass, or each one does.
func (c *Cond) elements(name string) string {
	if name = pick(c.Negated, "all of ", "some of ") + name; c.Op == OpPrefix {
		return fmt.Sprintf("%s %s %s", name, pick(c.Negated, "below", "not below"), c.set())
	}
	s := fmt.Sprintf("%s %s %s", name, pick(c.Negated, "in", "not in"), c.set())
	if len(c.Under) == 0 {
		return s
	}
	return fmt.Sprintf("%s %s %s", s, pick(c.Negated, "or below", "nor below"), (&Cond{Strs: c.Under}).set())
}

// text writes a test of arguments or of a variable.
func (c *Cond) text(name string) string {
	switch {
	case c.Field == event.FieldEnv:
		name += "." + c.Var
	case c.At > 0:
		name += fmt.Sprintf("[%d]", c.At-1)
	default:
		name = pick(c.Negated, "none of ", "some of ") + name
	}
	no := c.Negated && (c.Field == event.FieldEnv || c.At > 0)
	switch c.Op {
	case OpIn:
		if len(c.Strs) == 1 {
			return fmt.Sprintf("%s %s %q", name, pick(no, "not ==", "=="), c.Strs[0])
		}
		return fmt.Sprintf("%s %s %s", name, pick(no, "not in", "in"), c.set())
	case OpPrefix:
		if slices.Contains(c.Strs, "") {
			return fmt.Sprintf("%s %s", name, pick(no, "not there", "there"))
		}
		return fmt.Sprintf("%s %s %s", name, pick(no, "not beginning with", "beginning with"), c.set())
	case OpSuffix:
		return fmt.Sprintf("%s %s %s", name, pick(no, "not ending in", "ending in"), c.set())
	case OpContains:
		return fmt.Sprintf("%s %s %s", name, pick(no, "without", "with"), c.set())
	case OpRegex:
		return fmt.Sprintf("%s %s %s", name, pick(no, "not matching", "matching"), c.set())
	}
	return fmt.Sprintf("%s op(%d)", name, c.Op)
}

func (c *Cond) set() string {
	var vals []string
	for _, s := range c.Strs {
		vals = append(vals, strconv.Quote(s))
		if len(vals) == shown {
			break
		}
	}
	for _, n := range c.Nums {
		if len(vals) == shown {
			break
		}
		vals = append(vals, strconv.FormatUint(n, 10))
	}
	if more := len(c.Strs) + len(c.Nums) - len(vals); more > 0 {
		vals = append(vals, fmt.Sprintf("... %d more", more))
	}
	return "{" + strings.Join(vals, ", ") + "}"
}

func pick(negated bool, yes, no string) string {
	if negated {
		return yes
	}
	return no
}

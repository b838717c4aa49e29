package lower

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// formula is what a rule body means: constant, and, or, not, *atom, *unknown.
// It is evaluated in strong Kleene logic, in which replacing a part by unknown
// can turn an answer into "maybe" but never into the opposite one. That is all
// that soundness rests on: whatever is not understood may become unknown.
type formula any

type (
	constant bool
	and      []formula
	or       []formula
	not      struct{ f formula }

	// atom is a test that the kernel can make; it is never negated itself.
	atom struct{ ir.Cond }

	// unknown is a part that the kernel cannot decide.
	unknown struct {
		code   Code
		why    string
		expr   string
		at     *ast.Location
		fields []string // what user space reads for it: paths below input, "input", "time"
	}
)

// conj and disj drop what decides nothing and stop at what decides all.
func conj(fs ...formula) formula {
	var out and
	for _, f := range fs {
		switch f := f.(type) {
		case constant:
			if !f {
				return constant(false)
			}
		case and:
			out = append(out, f...)
		default:
			out = append(out, f)
		}
	}
	switch len(out) {
	case 0:
		return constant(true)
	case 1:
		return out[0]
	}
	return out
}

func disj(fs ...formula) formula {
	var out or
	for _, f := range fs {
		switch f := f.(type) {
		case constant:
			if f {
				return constant(true)
			}
		case or:
			out = append(out, f...)
		default:
			out = append(out, f)
		}
	}
	switch len(out) {
	case 0:
		return constant(false)
	case 1:
		return out[0]
	}
	return out
}

func neg(f formula) formula {
	switch f := f.(type) {
	case constant:
		return !f
	case not:
		return f.f
	}
	return not{f}
}

// leaves calls fn for each atom and unknown.
func leaves(f formula, fn func(formula)) {
	switch f := f.(type) {
	case and:
		for _, g := range f {
			leaves(g, fn)
		}
	case or:
		for _, g := range f {
			leaves(g, fn)
		}
	case not:
		leaves(f.f, fn)
	case constant:
	default:
		fn(f)
	}
}

func in(f event.Field, strs ...string) formula {
	slices.Sort(strs)
	if strs = slices.Compact(strs); len(strs) == 0 {
		return constant(false)
	}
	return &atom{ir.Cond{Field: f.ID, Op: ir.OpIn, Strs: strs}}
}

func inNums(f event.Field, nums ...uint64) formula {
	slices.Sort(nums)
	if nums = slices.Compact(nums); len(nums) == 0 {
		return constant(false)
	}
	return &atom{ir.Cond{Field: f.ID, Op: ir.OpIn, Nums: nums}}
}

func stringsTest(f event.Field, op ir.Op, strs ...string) formula {
	slices.Sort(strs)
	if strs = slices.Compact(strs); len(strs) == 0 {
		return constant(false)
	}
	return &atom{ir.Cond{Field: f.ID, Op: op, Strs: strs}}
}

func less(f event.Field, n uint64) formula {
	return &atom{ir.Cond{Field: f.ID, Op: ir.OpLess, Nums: []uint64{n}}}
}

func maskAny(f event.Field, mask uint64) formula {
	if mask == 0 {
		return constant(false)
	}
	return &atom{ir.Cond{Field: f.ID, Op: ir.OpMaskAny, Mask: mask}}
}

func maskEq(f event.Field, mask, v uint64) formula {
	switch {
	case v&^mask != 0:
		return constant(false)
	case mask == 0:
		return constant(true)
	case v == 0:
		return neg(maskAny(f, mask))
	}
	return &atom{ir.Cond{Field: f.ID, Op: ir.OpMaskEq, Mask: mask, Nums: []uint64{v}}}
}

package bpf

import "slices"

// history lists what the paths of a generation were, oldest first: a record is
// decoded by the binding with which the kernel decided, not by the one that is
// in force when it is read.
type history []boundFrom

// boundFrom is a binding and the value of config.Bindings from which it counts.
type boundFrom struct {
	from uint32
	*binding
}

// firstBindings is the first value of config.Bindings: even, and not the 0 of
// an act that was not judged.
const firstBindings = 2

// Bounds of what is kept: bindings, and names in them all together beyond the
// last two.
const (
	maxBindings   = 6
	maxBoundNames = 50_000
)

// bound is the binding in force.
func (g *generation) bound() *binding {
	if h := g.history.Load(); h != nil {
		return (*h)[len(*h)-1].binding
	}
	return nil
}

// bindSame puts a binding in the place of the last: it differs in nothing that
// the kernel looks at.
func (g *generation) bindSame(b *binding) {
	now := slices.Clone(*g.history.Load())
	now[len(now)-1].binding = b
	g.history.Store(&now)
}

// bind puts a binding in force.
func (g *generation) bind(b *binding, from uint32) {
	var now history
	if h := g.history.Load(); h != nil {
		now = append(now, *h...)
	}
	now = append(now, boundFrom{from, b})
	names := 0
	for _, x := range now {
		names += len(x.named)
	}
	for len(now) > maxBindings || len(now) > 2 && names > maxBoundNames {
		names -= len(now[0].named)
		now = now[1:]
	}
	g.history.Store(&now)
}

// inForce returns the binding by which the kernel decided, and whether it is
// the one: not if it was bound anew meanwhile, or too long ago.
func (g *generation) inForce(number uint32) (b boundFrom, sure bool) {
	h := *g.history.Load()
	if number == 0 {
		return h[len(h)-1], true
	}
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].from <= number {
			return h[i], number%2 == 0
		}
	}
	return h[0], false
}

// still reports whether the binding that counts from a number is in force.
func (g *generation) still(from uint32) bool {
	h := *g.history.Load()
	return h[len(h)-1].from == from
}

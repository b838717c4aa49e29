// Package aside does what may not come back: looking at files whose filesystem
// somebody serves, who may keep the answer for himself.
package aside

import "context"

// Group bounds how many may be away at a time: make(Group, n).
type Group chan struct{}

// Do runs f and reports whether it came back before ctx ended. If not, f may not have
// begun, or goes on by itself: it must own what it uses.
func (g Group) Do(ctx context.Context, f func()) bool {
	select {
	case g <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	back := make(chan struct{})
	go func() {
		defer func() { <-g }()
		defer close(back)
		f()
	}()
	select {
	case <-back:
		return true
	case <-ctx.Done():
		return false
	}
}

package gate

import (
	"testing"
	"time"
)

func TestBreaker(t *testing.T) {
	now := time.Unix(0, 0)
	var told []bool
	b := breaker{limit: 3, rest: time.Second, tell: func(open bool) { told = append(told, open) }, now: func() time.Time { return now }}
	miss := func(n int) {
		for range n {
			if !b.ask() {
				t.Fatal("it is open too early")
			}
			b.missed()
		}
	}
	miss(2)
	b.hit() // in a row means in a row
	miss(3)
	if b.ask() {
		t.Error("it did not open")
	}
	now = now.Add(time.Second)
	if !b.ask() || b.ask() {
		t.Error("after its rest one question, and only one, tries")
	}
	b.missed()
	if b.ask() {
		t.Error("the try failed: it must rest again")
	}
	now = now.Add(time.Second)
	if !b.ask() {
		t.Error("it never tries again")
	}
	b.hit()
	if !b.ask() || len(told) != 2 || !told[0] || told[1] {
		t.Errorf("it must be closed and have told twice, told %v", told)
	}
}

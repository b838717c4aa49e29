package bpf

import (
	"testing"
	"time"
)

func TestLooks(t *testing.T) {
	l := newLooks()
	l.last = 100
	l.looked(200, false)
	l.looked(300, true) // something has changed after 200
	changed := l.spans[0].to
	l.looked(changed+100, false)
	for at, want := range map[uint64]bool{150: true, 200: false, 250: false, changed: false, changed + 1: true} {
		if got := l.settled(at); got != want {
			t.Errorf("settled at %d: %v, want %v", at, got, want)
		}
	}

	// Of what comes after the last look the next one tells.
	now := sinceBoot()
	told := make(chan bool)
	go func() { told <- l.settled(now) }()
	select {
	case got := <-told:
		t.Errorf("told %v before anybody has looked", got)
	default:
	}
	l.looked(now+1, false)
	if !<-told {
		t.Error("nothing has changed, and it is not settled")
	}
	l.patience = 0
	if l.settled(now + 2) {
		t.Error("it did not wait for a look, and it is settled")
	}
	l.patience = time.Hour
	go func() { told <- l.settled(now + 2) }()
	l.end()
	if <-told {
		t.Error("nobody has looked, and it is settled")
	}

	// What is long ago is not known.
	for range maxSpans {
		l.looked(l.last+1, true)
	}
	if l.settled(150) {
		t.Error("of a time of which nothing is known")
	}
}

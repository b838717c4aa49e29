package guest

import (
	"regexp"
	"strings"
	"testing"
)

// Results collects what a Go test binary prints with -test.v=test2json and
// reports each of its tests as a subtest of a test on the host.
type Results struct {
	root    node
	current *node
	outside []string // what was printed while no test ran
}

// node is one test of the guest.
type node struct {
	name     string
	children []*node
	output   []string
	verdict  string // PASS, FAIL, SKIP; "" while it runs
}

// marker starts each line that the test binary itself prints about a test.
const marker = "\x16"

var frame = regexp.MustCompile(`^\s*(?:=== (RUN|NAME|CONT|PAUSE)|--- (PASS|FAIL|SKIP):)\s*(\S*)`)

// Line takes the next line of output.
func (r *Results) Line(s string) {
	// A test that printed without a line end puts text before the marker.
	before, framed, ok := strings.Cut(s, marker)
	if !ok || before != "" {
		r.add(before)
	}
	if !ok {
		return
	}
	m := frame.FindStringSubmatch(framed)
	switch {
	case m == nil:
		r.add(framed)
	case m[2] != "":
		n := r.root.find(m[3])
		n.verdict, r.current = m[2], n
	case m[3] == "":
		r.current = nil // no test runs now
	default:
		r.current = r.root.find(m[3])
	}
}

func (r *Results) add(s string) {
	if r.current == nil {
		r.outside = append(r.outside, s)
		return
	}
	r.current.output = append(r.current.output, s)
}

// find returns the test of that slash-separated name, which it adds if it is new.
func (n *node) find(name string) *node {
	head, rest, more := strings.Cut(name, "/")
	var child *node
	for _, c := range n.children {
		if c.name == head {
			child = c
		}
	}
	if child == nil {
		child = &node{name: head}
		n.children = append(n.children, child)
	}
	if !more {
		return child
	}
	return child.find(rest)
}

// Ran reports whether there was any test.
func (r *Results) Ran() bool { return len(r.root.children) > 0 }

// Report runs a subtest of t for each test of the guest: it passes, fails or
// skips as that one did, with its output. A test that never ended fails.
func (r *Results) Report(t *testing.T) {
	t.Helper()
	if len(r.root.children) == 0 {
		t.Errorf("the guest ran no test; it printed:\n%s", strings.Join(r.outside, "\n"))
	}
	for _, c := range r.root.children {
		c.report(t)
	}
	// What the last test printed after it ended is the binary's closing word.
	if len(r.outside) > 0 {
		t.Logf("outside of tests:\n%s", strings.Join(r.outside, "\n"))
	}
}

func (n *node) report(t *testing.T) {
	t.Run(n.name, func(t *testing.T) {
		for _, c := range n.children {
			c.report(t)
		}
		if len(n.output) > 0 {
			t.Log("\n" + strings.Join(n.output, "\n"))
		}
		switch n.verdict {
		case "PASS":
		case "SKIP":
			t.Skip(n.reason())
		case "FAIL":
			t.Fail()
		default:
			t.Error("did not end in the guest")
		}
	})
}

// reason is what a skipped test said last.
func (n *node) reason() string {
	if len(n.output) == 0 {
		return "skipped in the guest"
	}
	s := strings.TrimSpace(n.output[len(n.output)-1])
	if place, rest, ok := strings.Cut(s, ": "); ok && strings.Contains(place, ".go:") {
		return rest
	}
	return s
}

package guest

import (
	"strings"
	"testing"
)

func TestResults(t *testing.T) {
	var r Results
	for _, s := range strings.Split(`before all
`+marker+`=== RUN   TestA
`+marker+`=== RUN   TestA/sub
    a_test.go:1: hello
`+marker+`=== NAME  TestA
partial`+marker+`    --- SKIP: TestA/sub (0.00s)
`+marker+`--- PASS: TestA (0.01s)
`+marker+`=== NAME  
after
`+marker+`=== RUN   TestB`, "\n") {
		r.Line(s)
	}
	a, sub, b := r.root.find("TestA"), r.root.find("TestA/sub"), r.root.find("TestB")
	if a.verdict != "PASS" || sub.verdict != "SKIP" || b.verdict != "" || len(r.root.children) != 2 {
		t.Errorf("verdicts %q %q %q, want PASS, SKIP and none", a.verdict, sub.verdict, b.verdict)
	}
	if got := strings.Join(sub.output, "|"); got != "    a_test.go:1: hello" {
		t.Errorf("output of the subtest: %q", got)
	}
	if got := strings.Join(a.output, "|"); got != "partial" {
		t.Errorf("output of the test: %q", got)
	}
	if got := strings.Join(r.outside, "|"); got != "before all|after" {
		t.Errorf("output outside: %q", got)
	}
}

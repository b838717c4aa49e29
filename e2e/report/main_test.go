package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const in = `not json
{"Action":"output","Package":"m/policy","Test":"TestA","Output":"    a_test.go:3: broken\n"}
{"Action":"fail","Package":"m/policy","Test":"TestA"}
{"Action":"output","Package":"m/policy","Output":"FAIL\tm/policy\t0.1s\n"}
{"Action":"fail","Package":"m/policy"}
{"Action":"output","Package":"m/e2e","Test":"TestGuest/6.1/TestOpen","Output":"--- PASS: TestGuest/6.1/TestOpen (1.00s)\n"}
{"Action":"pass","Package":"m/e2e","Test":"TestGuest/6.1/TestOpen"}
{"Action":"output","Package":"m/e2e","Test":"TestExec","Output":"    main_test.go:45: layer native did not run: needs root\n"}
{"Action":"output","Package":"m/e2e","Test":"TestExec","Output":"--- SKIP: TestExec (0.00s)\n"}
{"Action":"skip","Package":"m/e2e","Test":"TestExec"}
`
	var out strings.Builder
	r := &report{w: &out, layers: map[string]*layer{}, output: map[string][]string{}}
	if err := r.read(strings.NewReader(in)); err != nil {
		t.Fatal(err)
	}
	r.table()
	if !r.failed {
		t.Error("a failed test did not fail the report")
	}
	for _, want := range []string{
		"not json\n", "a_test.go:3: broken", "FAIL\tm/policy\t0.1s", "--- PASS: TestGuest/6.1/TestOpen",
		"guest 6.1               1      0      0", "native scenarios        0      0      1", "unit                    0      1      0",
		"native scenarios: 1 skipped: layer native did not run: needs root",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, out.String())
		}
	}
}

package policy

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

const twoRules = `package bailiff.exec

# METADATA
# custom: {id: from-tmp}
deny contains "ran from a directory" if {
	some dir in {"/tmp/", "/dev/shm/"}
	startswith(input.file.path, dir)
	input.process.uid >= 1000
}

# METADATA
# custom: {id: with-e}
alert contains sprintf("ran %v", [input.args]) if {
	input.file.path == "/usr/bin/nc"
	contains(concat(" ", input.args), " -e")
}
`

const twoTests = `package bailiff.exec_test

import data.bailiff.exec.deny

test_tmp if count(deny) == 1 with input as {"process": {"uid": 1000}, "file": {"path": "/tmp/x"}}

test_root if count(deny) == 0 with input as {"process": {"uid": 0}, "file": {"path": "/tmp/x"}}

test_wrong if count(deny) == 3 with input as {"process": {"uid": 1000}, "file": {"path": "/tmp/x"}}
`

const acts = `hook: exec
input:
  process: {uid: 1000, exe: {path: /usr/bin/bash}}
acts:
  - name: netcat with a shell
    input: {file: {path: /usr/bin/nc}, args: [nc, -e, sh]}
    verdict: alert
    rule: with-e
    message: "-e"
  - name: netcat
    input: {file: {path: /usr/bin/nc}, args: [nc]}
    verdict: allow
  - name: from /tmp, by root
    input: {file: {path: /tmp/x}, process: {uid: 0}}
    verdict: deny
`

func mapFS(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

func TestTestsAndCoverage(t *testing.T) {
	r, err := TestFS(t.Context(), mapFS(map[string]string{"exec.rego": twoRules, "exec_test.rego": twoTests, "exec_test.yaml": acts}), TestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Tests) != 3 || len(r.Scenarios) != 3 || r.Failed() != 2 {
		t.Fatalf("%+v", r)
	}
	if s := r.Scenarios[2]; s.Pass || s.File != "exec_test.yaml" || s.Line != 13 || s.Why != "the verdict is allow" {
		t.Errorf("%+v", s)
	}
	got := map[string]RuleCoverage{}
	for _, c := range r.Coverage.Rules {
		got[c.Rule] = c
	}
	tmp, nc := got["from-tmp"], got["with-e"]
	if tmp.Fired != 1 || tmp.Silent < 1 || nc.Fired != 1 || nc.Missed() != 0 || len(r.Coverage.Files) != 1 {
		t.Errorf("%+v", r.Coverage)
	}
	if tmp.Line != 5 || r.Coverage.Percent < 90 || r.Coverage.Percent > 100 {
		t.Errorf("%+v", r.Coverage)
	}
	r, err = TestFS(t.Context(), mapFS(map[string]string{"exec.rego": twoRules, "exec_test.rego": twoTests, "exec_test.yaml": acts}), TestOptions{Run: "root"})
	if err != nil || len(r.Tests) != 1 || len(r.Scenarios) != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if c := r.Coverage.Rules[0]; c.Rule != "from-tmp" && c.Rule != "with-e" || c.Missed() == 0 {
		t.Errorf("%+v", c)
	}
}

func TestScenarioErrorsHaveAPlace(t *testing.T) {
	for text, want := range map[string]string{
		"acts: [{name: x, hook: exec, verdict: deny, verdikt: allow}]":                                                       "exec_test.yaml:1:45: P030 unknown field",
		"hook: exec\nacts:\n  - name: x\n    verdict: maybe\n":                                                               "exec_test.yaml:3: P030 the verdict is",
		"acts:\n  - name: x\n    verdict: deny\n":                                                                            "exec_test.yaml:2: P030 the hook is",
		"hook: exec\nacts:\n  - verdict: deny\n":                                                                             "exec_test.yaml:3: P030 the act has no name",
		"hook: exec\nacts:\n  - name: y\n    verdict: allow\n  - name: x\n    input: {file: {pth: /x}}\n    verdict: deny\n": "exec_test.yaml:5: P030 make act: there is no field input.file.pth: did you mean input.file.path?",
		"hook: [": "exec_test.yaml:1",
	} {
		_, err := TestFS(t.Context(), mapFS(map[string]string{"exec.rego": twoRules, "exec_test.yaml": text}), TestOptions{})
		var list Errors
		if !errors.As(err, &list) || !strings.HasPrefix(list[0].Error(), want) || list[0].Source == "" {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

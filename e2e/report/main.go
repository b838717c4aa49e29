// Command report reads the output of `go test -json`, shows what people want
// to see of it, and closes with a table of the layers of tests: which ran,
// which did not, and why. It fails if a test failed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sort"
	"strings"
)

// record is one line of `go test -json`.
type record struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
}

// layer counts the tests of one layer.
type layer struct {
	pass, fail, skip int
	reasons          map[string]int // why tests were skipped
}

type report struct {
	w      io.Writer
	layers map[string]*layer
	output map[string][]string // by package and test, while it runs
	failed bool
}

func main() {
	r := &report{w: os.Stdout, layers: map[string]*layer{}, output: map[string][]string{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
	r.table()
	if r.failed {
		os.Exit(1)
	}
}

func (r *report) read(in io.Reader) error {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 1<<24)
	for sc.Scan() {
		var rec record
		if json.Unmarshal(sc.Bytes(), &rec) != nil {
			fmt.Fprintln(r.w, sc.Text()) // not from a test
			continue
		}
		r.take(rec)
	}
	return sc.Err()
}

func (r *report) take(rec record) {
	key := rec.Package + " " + rec.Test
	switch rec.Action {
	case "build-output":
		fmt.Fprint(r.w, rec.Output)
	case "build-fail":
		r.failed = true
	case "output":
		if rec.Test == "" {
			fmt.Fprint(r.w, rec.Output) // "ok package 1.2s" and the like
			return
		}
		r.output[key] = append(r.output[key], rec.Output)
		if strings.HasPrefix(strings.TrimSpace(rec.Output), "--- ") && layerOf(rec) != unit {
			fmt.Fprint(r.w, rec.Output)
		}
	case "pass", "fail", "skip":
		r.done(rec, r.output[key])
		delete(r.output, key)
	}
}

func (r *report) done(rec record, output []string) {
	if rec.Action == "fail" {
		r.failed = true
	}
	if rec.Test == "" {
		return
	}
	name := layerOf(rec)
	l := r.layers[name]
	if l == nil {
		l = &layer{reasons: map[string]int{}}
		r.layers[name] = l
	}
	switch rec.Action {
	case "pass":
		l.pass++
	case "skip":
		l.skip++
		l.reasons[reason(output)]++
	case "fail":
		l.fail++
		fmt.Fprintf(r.w, "=== FAIL %s %s\n%s", rec.Package, rec.Test, strings.Join(output, ""))
	}
}

const unit = "unit"

// layerOf tells from its name which layer a test belongs to.
func layerOf(rec record) string {
	switch {
	case strings.HasSuffix(rec.Package, "/e2e") && strings.HasPrefix(rec.Test, "TestGuest"):
		if parts := strings.Split(rec.Test, "/"); len(parts) > 1 {
			return "guest " + parts[1]
		}
		return "guest"
	case strings.HasSuffix(rec.Package, "/e2e"), strings.HasSuffix(rec.Package, "/e2e/harness"):
		return "native scenarios"
	case strings.HasSuffix(rec.Package, "/bpf"):
		return "native kernel"
	}
	return unit
}

// reason is what a skipped test said last, without the place in the source.
func reason(output []string) string {
	for i := len(output) - 1; i >= 0; i-- {
		s := strings.TrimSpace(output[i])
		if s == "" || strings.HasPrefix(s, "--- ") || strings.HasPrefix(s, "=== ") {
			continue
		}
		if place, rest, ok := strings.Cut(s, ": "); ok && strings.Contains(place, ".go:") {
			s = rest
		}
		return s
	}
	return "no reason given"
}

func (r *report) table() {
	names := make([]string, 0, len(r.layers))
	for n := range r.layers {
		names = append(names, n)
	}
	sort.Strings(names)
	fmt.Fprintf(r.w, "\n%-18s %6s %6s %6s\n", "layer", "passed", "failed", "skipped")
	for _, n := range names {
		l := r.layers[n]
		fmt.Fprintf(r.w, "%-18s %6d %6d %6d\n", n, l.pass, l.fail, l.skip)
	}
	for _, n := range names {
		for why, count := range r.layers[n].reasons {
			fmt.Fprintf(r.w, "%s: %d skipped: %s\n", n, count, why)
		}
	}
}

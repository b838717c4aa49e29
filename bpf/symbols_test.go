package bpf

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

// TestOptionalSymbols: without the kernel's addresses nothing refers to them any
// more, and the programs pass the verifier as before.
func TestOptionalSymbols(t *testing.T) {
	var declared []string
	headers, err := filepath.Glob("*.h")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range headers {
		b, err := os.ReadFile(h)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^extern void (\w+) __ksym`).FindAllStringSubmatch(string(b), -1) {
			declared = append(declared, m[1])
		}
	}
	if len(headers) > 0 && !slices.Equal(declared, optional) { // a guest has no sources
		t.Errorf("declared in C: %v; listed as optional: %v", declared, optional)
	}
	spec, err := loadKernel()
	if err != nil {
		t.Fatal(err)
	}
	before, after := 0, 0
	for n, p := range spec.Programs {
		before += references(p)
		for _, name := range optional {
			withoutSymbol(p.Instructions, name)
		}
		after += references(p)
		if p.Type == ebpf.LSM || p.AttachType == ebpf.AttachModifyReturn {
			delete(spec.Programs, n)
		}
	}
	if before == 0 || after != 0 {
		t.Errorf("%d references to the kernel's variables, %d without addresses", before, after)
	}
	c, err := ebpf.NewCollection(spec)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// references counts loads of addresses that the loader has to look up.
func references(p *ebpf.ProgramSpec) int {
	n := 0
	for i := range p.Instructions {
		if slices.Contains(optional, p.Instructions[i].Reference()) {
			n++
		}
	}
	return n
}

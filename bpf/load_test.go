package bpf

import (
	"errors"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
)

// mostVerified bounds the verifier's work on one program: the time that an agent
// takes to start. In an emulated guest it is some 43,000 of these a second.
const mostVerified = 80_000

// TestVerifies loads all programs that this kernel lets us load, in a guest those
// of all backends, and says what the verifier's work was.
func TestVerifies(t *testing.T) {
	spec, err := loadKernel()
	if err != nil {
		t.Fatal(err)
	}
	if tryProgram("floor_open") == nil {
		if err := spec.Variables["can_refuse"].Set(uint32(1)); err != nil {
			t.Fatal(err)
		}
	} else {
		for n, p := range spec.Programs {
			if p.Type == ebpf.LSM || p.AttachType == ebpf.AttachModifyReturn {
				delete(spec.Programs, n)
			}
		}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{Programs: ebpf.ProgramOptions{LogSizeStart: 64 << 20}})
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		n := len(ve.Log)
		if n > 70 {
			ve.Log = ve.Log[n-70:]
		}
		for _, l := range ve.Log {
			t.Log(l)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var names []string
	for n := range c.Programs {
		names = append(names, n)
	}
	slices.Sort(names)
	var sum uint32
	for _, n := range names {
		info, err := c.Programs[n].Info()
		if err != nil {
			t.Fatal(err)
		}
		v, _ := info.VerifiedInstructions()
		sum += v
		t.Logf("%-20s %8d verified", n, v)
		if v > mostVerified {
			t.Errorf("%s: the verifier looks at %d instructions, at most %d: agents start slowly", n, v, mostVerified)
		}
	}
	t.Logf("%-20s %8d verified", "all", sum)
}

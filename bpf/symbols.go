package bpf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// optional are variables of the kernel that programs read if they can find
// them (extern ... __ksym __weak).
var optional = []string{"rename_lock"}

// newCollection loads programs and maps. Where the kernel shows nobody its
// addresses (kernel.kptr_restrict=2), or not this process (no CAP_SYSLOG), what
// is optional counts as absent: that costs time, never a verdict. hidden says
// that it was so.
func newCollection(spec *ebpf.CollectionSpec, opts ebpf.CollectionOptions) (coll *ebpf.Collection, hidden bool, err error) {
	coll, err = ebpf.NewCollectionWithOptions(spec, opts)
	if !errors.Is(err, ebpf.ErrRestrictedKernel) {
		return coll, false, err
	}
	for _, p := range spec.Programs {
		for _, name := range optional {
			withoutSymbol(p.Instructions, name)
		}
	}
	coll, err = ebpf.NewCollectionWithOptions(spec, opts)
	return coll, true, err
}

// withoutSymbol makes the address of a variable of the kernel zero.
func withoutSymbol(insns asm.Instructions, name string) {
	for i := range insns {
		if ins := &insns[i]; ins.OpCode.IsDWordLoad() && ins.Reference() == name {
			*ins = asm.LoadImm(ins.Dst, 0, asm.DWord).WithSymbol(ins.Symbol()).WithSource(ins.Source())
		}
	}
}

// probeAddresses asks whether the kernel shows its addresses.
func probeAddresses() Feature {
	f := Feature{Name: "addresses", State: "yes", Lost: "the way up from a directory is walked at each open that a rule may concern, not only at the first: slower, as safe",
		Remedy: "give the agent CAP_SYSLOG, and set kernel.kptr_restrict to 0 or 1"}
	shown, err := addressesShown()
	switch {
	case err != nil:
		f.State, f.Why = "unknown", err.Error()
	case !shown:
		f.State, f.Why = "no", "/proc/kallsyms shows zeros"
	}
	return f
}

func addressesShown() (bool, error) {
	fh, err := os.Open("/proc/kallsyms")
	if err != nil {
		return false, fmt.Errorf("read symbols: %w", err)
	}
	defer fh.Close()
	// The first ones may be at zero: offsets into the memory of each processor.
	s := bufio.NewScanner(fh)
	for n := 0; s.Scan() && n < 10_000; n++ {
		addr, _, _ := bytes.Cut(s.Bytes(), []byte(" "))
		if len(bytes.Trim(addr, "0")) > 0 {
			return true, nil
		}
	}
	return false, s.Err()
}

package bpf

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
)

// countOfRenames says where the kernel's count of renames is, 0 if that could not be
// found: the kernel shows nobody its addresses (kernel.kptr_restrict=2), or not
// this process (no CAP_SYSLOG), or only those of functions. That costs time,
// never a verdict.
func (k *Kernel) countOfRenames() (uint64, error) {
	var b kernelBegun
	if err := k.coll.Variables["initial"].Get(&b); err != nil {
		return 0, fmt.Errorf("read what the kernel began with: %w", err)
	}
	return b.Renames, nil
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

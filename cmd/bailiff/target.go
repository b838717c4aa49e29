package main

import (
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"example.com/bailiff/bpf"
	"example.com/bailiff/policy/lower"
)

// targetOf finds out what rules can be turned into on this kernel.
func targetOf(backend string, log hclog.Logger) lower.Target {
	err := bpf.ComputesDigests(backend)
	if err != nil {
		log.Debug("the kernel computes no digests: rules that read them are held", "reason", err)
	}
	return targetWith(err == nil)
}

func targetWith(digests bool) lower.Target {
	t := lower.DefaultTarget()
	if !digests {
		t = t.WithoutDigests()
	}
	return t
}

// digestsFlag binds what is assumed of the kernel by those who look at a bundle
// away from it.
func digestsFlag(f *pflag.FlagSet, to *bool) {
	f.BoolVar(to, "no-kernel-digests", false, "as on a kernel that computes no digests of programs (\"bailiff doctor\" says whether one does)")
}

package main

import (
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"example.com/bailiff/bpf"
	"example.com/bailiff/policy/lower"
)

// noDigests returns what finds out, once and when it is asked, whether this kernel
// computes no digests.
func noDigests(backend string, log hclog.Logger) func() bool {
	return sync.OnceValue(func() bool {
		err := bpf.ComputesDigests(backend)
		if err != nil {
			log.Info("the kernel computes no digests: execs are held where rules read them", "reason", err)
		}
		return err != nil
	})
}

// targetWith is a kernel that has all, or all but digests.
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

package main

import (
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"example.com/bailiff/bpf"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/lower"
)

// noDigests returns what finds out, once for each of event.OnlyAtGate and when it
// is asked, whether this kernel does not know it.
func noDigests(backend string, log hclog.Logger) func(field string) bool {
	known := map[string]func() bool{}
	for _, field := range event.OnlyAtGate {
		known[field] = sync.OnceValue(func() bool {
			err := bpf.KnowsDigest(field, backend)
			if err != nil {
				log.Info("the kernel does not know a digest: execs are held where rules read it", "field", field, "reason", err)
			}
			return err != nil
		})
	}
	return func(field string) bool { return known[field]() }
}

// assumed is what is assumed of the kernel by those who look at a bundle away
// from it.
type assumed struct{ noDigests, noVerity bool }

func (k *assumed) target() lower.Target {
	t := lower.DefaultTarget()
	switch {
	case k.noDigests:
		return t.Without(event.OnlyAtGate...)
	case k.noVerity:
		return t.Without("file.verity")
	}
	return t
}

func (k *assumed) flags(f *pflag.FlagSet) {
	f.BoolVar(&k.noDigests, "no-kernel-digests", false, "as on a kernel that knows no digests of programs (\"bailiff doctor\" says whether one does)")
	f.BoolVar(&k.noVerity, "no-kernel-verity", false, "as on a kernel that does not tell programs of fs-verity, likewise")
}

package main

import (
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/bpf"
)

// pinPrefix is what the names of counters begin with that belong to a spool:
// each agent must find those of its own former runs.
func pinPrefix(cfg *config) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(cfg.Spool.Dir)) // never fails
	return filepath.Join(bpf.BPFFS, "bailiff", fmt.Sprintf("%016x-", h.Sum64()))
}

// leftovers says how many acts the kernel was to tell of in runs of the agent
// that were killed.
type leftovers map[string]uint64

// readLeftovers reads and removes what killed runs have left in the kernel. It
// is called when no other agent can have the socket.
func readLeftovers(cfg *config, log hclog.Logger) leftovers {
	out := leftovers{}
	if cfg.Spool.Dir == spoolOff {
		return out
	}
	prefix := pinPrefix(cfg)
	pins, err := filepath.Glob(prefix + "*")
	if err != nil {
		return out // the pattern is ours
	}
	for _, pin := range pins {
		acts, err := bpf.Left(pin)
		if err != nil {
			log.Warn("counters of a killed run cannot be read", "pin", pin, "error", err)
			continue
		}
		out[strings.TrimPrefix(pin, prefix)] = acts
	}
	return out
}

func (l leftovers) of(run string) (uint64, bool) {
	acts, known := l[run]
	return acts, known
}

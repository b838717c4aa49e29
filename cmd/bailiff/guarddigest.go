package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"slices"

	"example.com/bailiff/internal/digest"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/lockout"
	"example.com/bailiff/policy/ir"
)

// readDigests reports whether a rule on execs needs the digest of the program.
func readDigests(p *ir.Program) bool {
	return slices.ContainsFunc(p.Rules[event.HookExec], func(r ir.Rule) bool {
		return slices.ContainsFunc(r.Clauses, func(c ir.Clause) bool { return c.ReadsDigest() })
	})
}

// addDigests gives the programs that are executed in these acts the digests that
// they have now: a list of what may run would deny a program without one.
func addDigests(acts []lockout.Act) {
	known := map[string]string{}
	for _, a := range acts {
		if a.Event.Hook != event.HookExec || a.Event.File == nil {
			continue
		}
		f := *a.Event.File
		sum, ok := known[f.Path]
		if !ok {
			sum = sumOfFile(f.Path)
			known[f.Path] = sum
		}
		f.SHA256 = sum
		a.Event.File = &f
	}
}

// sumOfFile is "" of a file that cannot be read whole.
func sumOfFile(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() || st.Size() > digest.MaxSize {
		return ""
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

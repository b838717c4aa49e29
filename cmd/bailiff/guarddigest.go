package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/digest"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/lockout"
	"example.com/bailiff/policy/ir"
)

// readDigests reports whether a rule on execs needs a digest of the program.
func readDigests(p *ir.Program) bool {
	return slices.ContainsFunc(p.Rules[event.HookExec], func(r ir.Rule) bool {
		return slices.ContainsFunc(event.Digests, r.RestsOn)
	})
}

// addDigests gives the programs that are executed in these acts the digests that
// they have now: a list of what may run would deny a program without one.
func addDigests(acts []lockout.Act) {
	known := map[string][2]string{}
	for _, a := range acts {
		if a.Event.Hook != event.HookExec || a.Event.File == nil {
			continue
		}
		f := *a.Event.File
		sums, ok := known[f.Path]
		if !ok {
			sums = sumsOfFile(f.Path)
			known[f.Path] = sums
		}
		f.SHA256, f.Verity = sums[0], sums[1]
		a.Event.File = &f
	}
}

// sumsOfFile are its SHA-256, "" of a file that cannot be read whole, and its
// fs-verity digest.
func sumsOfFile(path string) (sums [2]string) {
	f, err := os.Open(path)
	if err != nil {
		return sums
	}
	defer f.Close()
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err == nil {
		if verity, err := digest.Verity(int(f.Fd()), uint64(fs.Type)); err == nil {
			sums[1] = cmp.Or(verity, event.NoVerity)
		}
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() || st.Size() > digest.MaxSize {
		return sums
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err == nil {
		sums[0] = hex.EncodeToString(h.Sum(nil))
	}
	return sums
}

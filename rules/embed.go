// Package rules holds the bundle that ships with Bailiff and is used when no
// other is named: ordinary Rego, with its data, its exceptions and its tests.
package rules

import (
	"embed"
	"io/fs"
)

//go:embed all:baseline
var baseline embed.FS

// FS is the baseline bundle, rooted at its manifest. It is read-only.
var FS = root()

func root() fs.FS {
	sub, err := fs.Sub(baseline, "baseline")
	if err != nil { // the name is constant and valid
		panic(err)
	}
	return sub
}

// Package rules holds the bundle that ships with Bailiff and is used when no
// other is named: ordinary Rego, with its data, its exceptions and its tests.
package rules

import (
	"embed"
	"io/fs"
)

//go:embed all:baseline
var baseline embed.FS

//go:embed all:starter
var starter embed.FS

// FS is the baseline bundle, rooted at its manifest. It is read-only.
var FS = root(baseline, "baseline")

// Starter is the bundle that people begin with: a few rules of each kind with
// tests, data and the settings of editors. It is read-only.
var Starter = root(starter, "starter")

func root(all embed.FS, name string) fs.FS {
	sub, err := fs.Sub(all, name)
	if err != nil { // the name is constant and valid
		panic(err)
	}
	return sub
}

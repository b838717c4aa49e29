package rules

import (
	"embed"
	"io/fs"
)

//go:embed all:packs
var packs embed.FS

// Packs are the names of the packs: rules for some machines, off by default.
func Packs() []string {
	entries, err := packs.ReadDir("packs")
	if err != nil { // the name is constant and valid
		panic(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// Pack returns the files of one pack. In a bundle they lie below packs/NAME.
func Pack(name string) (fs.FS, error) {
	dir := "packs/" + name
	if _, err := packs.ReadDir(dir); err != nil {
		return nil, err
	}
	return fs.Sub(packs, dir)
}

package event

import "os"

// GivenParts says what of Given somebody reads.
type GivenParts struct{ Args, Env, Cwd, Script bool }

// Or is what one of the two reads.
func (g GivenParts) Or(o GivenParts) GivenParts {
	return GivenParts{g.Args || o.Args, g.Env || o.Env, g.Cwd || o.Cwd, g.Script || o.Script}
}

// Given is what a thread in execve gives the new image, before the image is there:
// arguments and environment as blocks of strings, each ended by NUL.
type Given struct {
	Args []byte // nil: not read
	Env  []byte // nil: not read
	// Origin is the path and the arguments of the call, from which Args were made.
	Origin []byte
	Cwd    *os.File // working directory; nil: not read
	// Scripts: Script says which one the call names, nil if it names none.
	Scripts bool
	Script  *os.File
}

// Close closes the files.
func (g *Given) Close() {
	if g.Cwd != nil {
		g.Cwd.Close()
	}
	if g.Script != nil {
		g.Script.Close()
	}
}

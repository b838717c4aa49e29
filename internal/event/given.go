package event

// Given is what a thread in execve gives the new image, before the image is there:
// blocks of strings, each ended by NUL.
type Given struct {
	Args []byte // nil: not read
	Env  []byte // nil: not read
	// Before is Args of the script of which the file is the interpreter, from which
	// they were made.
	Before []byte
}

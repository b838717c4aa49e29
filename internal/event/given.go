package event

// Given is what a thread in execve gives the new image, before the image is there:
// blocks of strings, each ended by NUL.
type Given struct {
	Args []byte // nil: not read
	Env  []byte // nil: not read
	// Origin is the path and the arguments of the call, from which Args were made.
	Origin []byte
}

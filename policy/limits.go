package policy

// Limits bounds what a bundle may be before any of it is parsed. A zero means
// the default that is named.
type Limits struct {
	ArchiveBytes int64 // of the packed file; default 64 MiB
	TotalBytes   int64 // of all files together, unpacked; default 256 MiB
	FileBytes    int64 // of one file, unpacked; default 64 MiB
	RegoBytes    int64 // of one file of rules; default 1 MiB
	Entries      int   // files and directories; default 10,000
	Nesting      int   // brackets within brackets, in rules and data; default 64
	Digits       int   // of one number; default 64
	Rules        int   // deny and alert rules; default 10,000
}

func (l Limits) withDefaults() Limits {
	set(&l.ArchiveBytes, 64<<20)
	set(&l.TotalBytes, 256<<20)
	set(&l.FileBytes, 64<<20)
	set(&l.RegoBytes, 1<<20)
	set(&l.Entries, 10_000)
	set(&l.Nesting, 64)
	set(&l.Digits, 64)
	set(&l.Rules, 10_000)
	return l
}

func set[T int | int64](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// maxName is the length of a path in a bundle, in bytes; maxDirs how deep it goes.
const (
	maxName = 512
	maxDirs = 32
)

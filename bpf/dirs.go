package bpf

import "bytes"

// dirPaths are the paths of directories that the kernel gives by number after it
// has told them once (seen.h): what follows the first component of a path in a
// record. In each place only one number is in use, but a record may have been
// on its way while a later one took its place: so the last few are kept.
type dirPaths [dirSlots][]dirPath

type dirPath struct {
	number uint32
	path   []byte
	fsType [16]int8 // of its filesystem
}

const (
	dirSlots = 4096 // DIR_SLOTS in wire.h
	dirsKept = 8
	nameOnly = 2 // RECORD_NAME_ONLY in wire.h
)

// whole returns the path of a record's file, as it would be with all of its
// components, and gives the file the type of its filesystem. False: the number was never told.
func (p *dirPaths) whole(r *kernelRecord, path []byte) ([]byte, bool) {
	if r.DirNumber == 0 {
		return path, true
	}
	kept := p[r.DirSlot%dirSlots]
	if r.Flags&nameOnly == 0 {
		if i := bytes.IndexByte(path, 0); i >= 0 {
			if len(kept) == dirsKept {
				kept = append(kept[:0], kept[1:]...)
			}
			p[r.DirSlot%dirSlots] = append(kept, dirPath{r.DirNumber, bytes.Clone(path[i+1:]), r.File.FsType})
		}
		return path, true
	}
	for i := len(kept) - 1; i >= 0; i-- {
		if kept[i].number == r.DirNumber {
			r.File.FsType = kept[i].fsType
			return append(path[:len(path):len(path)], kept[i].path...), true
		}
	}
	return nil, false
}

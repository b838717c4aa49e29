package bpf

import (
	"bytes"
	"encoding/binary"
	"path"
	"slices"
	"strings"
	"time"
	"unsafe"

	"example.com/bailiff/internal/event"
)

// known is what the decoder made before of parts that come again and again:
// programs, files, directories. Names depend on how the rules are tied to files
// and on the mounts, so each binding has its own, and all are forgotten when the
// mounts are read again. What is in it is shared by events and never changed.
type known struct {
	exes   map[uint32]*event.File
	files  map[string]*event.File // by all facts and the path as the kernel gave it
	places map[string]string      // by filesystem and path
	lines  map[line]lineage       // ancestors' names
	shells map[uint32]bool        // of programs: whether it is a shell
}

// line is the ancestors of a process, by the numbers of their programs.
type line struct {
	n   uint32
	ids [16]uint32
}

// lineage is a line by name.
type lineage struct {
	paths []string   // all names, each once, nearest first
	names [][]string // of each program, if one has several
	shell string     // first name of the nearest one
}

// Bounds of what is known: when one is reached that part is forgotten.
const (
	maxExesKept  = 16384
	maxFilesKept = 4096
)

// of returns what is known under the binding of the record.
func (d *decoder) of(*generation) *known {
	b := d.bound.binding
	k := d.known[b]
	if k == nil {
		if len(d.known) >= numSlots {
			clear(d.known)
		}
		k = &known{exes: map[uint32]*event.File{}, files: map[string]*event.File{}, places: map[string]string{}, lines: map[line]lineage{}, shells: map[uint32]bool{}}
		d.known[b] = k
	}
	return k
}

// keep adds to one part of what is known.
func keep[K comparable, V any](m map[K]V, limit int, key K, v V) {
	if len(m) >= limit {
		clear(m)
	}
	m[key] = v
}

// comm returns a name that a process gave itself.
func (d *decoder) comm(c *[16]int8) string {
	s, ok := d.comms[*c]
	if !ok {
		s = text(c[:])
		keep(d.comms, maxFilesKept, *c, s)
	}
	return s
}

// ancestry returns the names of ancestors, nearest first.
func (d *decoder) ancestry(l line, g *generation) lineage {
	if l.n == 0 {
		return lineage{}
	}
	clear(l.ids[l.n:])
	k := d.of(g)
	out, ok := k.lines[l]
	if ok {
		return out
	}
	whole, several := true, false
	for _, id := range l.ids[:l.n] {
		f := d.exe(id, g)
		if out.shell == "" && d.isShell(id, g) {
			out.shell = f.Path
		}
		whole, several = whole && f.Path != "", several || len(f.Names) > 1
		if len(f.Names) > 0 {
			out.names = append(out.names, f.Names)
		}
		for _, n := range f.Names {
			if !slices.Contains(out.paths, n) {
				out.paths = append(out.paths, n)
			}
		}
	}
	out.paths = slices.Clip(out.paths) // whoever appends makes a copy
	if out.names = slices.Clip(out.names); !several {
		out.names = nil
	}
	if whole {
		keep(k.lines, maxFilesKept, l, out)
	}
	return out
}

// isShell reports whether a program is a shell: by its file where the rules are about
// that, and else, for whoever reads the event, by its path.
func (d *decoder) isShell(id uint32, g *generation) bool {
	k := d.of(g)
	is, ok := k.shells[id]
	if ok || id == 0 {
		return is
	}
	f, info := d.exe(id, g), d.info(id)
	switch {
	case info == nil || f.Path == "":
		return false
	case g != nil && len(g.tables.tests.shells) > 0:
		within := joinReversed(rawChars(info.Path[:min(int(info.PathLen), len(info.Path))]))
		is = d.bound.isShell(info.File.Id, info.File.Dir, path.Base(within))
	default:
		is = slices.ContainsFunc(f.Names, d.listedShell(g))
	}
	keep(k.shells, maxExesKept, id, is)
	return is
}

// listedShell reports whether a path is in the policy's list, or in that which holds
// without a policy.
func (d *decoder) listedShell(g *generation) func(string) bool {
	list := event.Shells()
	if g != nil {
		list = g.tables.prog.Shells
	}
	return func(p string) bool { return slices.Contains(list, p) }
}

// info returns what the kernel wrote down of a program, nil if it has none.
func (d *decoder) info(id uint32) *kernelExeInfo {
	info := d.infos[id]
	if info == nil {
		info = &kernelExeInfo{}
		if err := d.k.coll.Maps["exe_infos"].Lookup(id, info); err != nil {
			return nil
		}
		keep(d.infos, maxExesKept, id, info)
	}
	return info
}

// exe returns what is known of a program by its number.
func (d *decoder) exe(id uint32, g *generation) *event.File {
	k := d.of(g)
	if f := k.exes[id]; f != nil {
		return f
	}
	info := d.info(id)
	if info == nil {
		return &event.File{}
	}
	f := d.file(&info.File, rawChars(info.Path[:min(int(info.PathLen), len(info.Path))]), g)
	keep(k.exes, maxExesKept, id, f)
	return f
}

func (d *decoder) file(w *kernelWireFile, rawPath []byte, g *generation) *event.File {
	facts := *w
	facts.Scratch, facts.PathLen = 0, 0 // they say nothing about the file
	d.key = append(append(d.key[:0], unsafe.Slice((*byte)(unsafe.Pointer(&facts)), unsafe.Sizeof(facts))...), rawPath...)
	k := d.of(g)
	if f := k.files[string(d.key)]; f != nil {
		return f
	}
	key := string(d.key)
	f := &event.File{
		ID: toFileID(w.Id), Unresolved: w.Unresolved != 0, Mode: w.Mode, UID: w.Uid, GID: w.Gid, Nlink: w.Nlink,
		FsMagic: w.FsMagic, FsType: text(w.FsType[:]), DirMode: w.DirMode, DirUID: w.DirUid,
		Traits: event.FlagNames(event.Traits, uint64(w.Traits)),
	}
	f.Path = d.place(w.Id.Dev, rawPath, g)
	if g != nil {
		name, _, _ := bytes.Cut(rawPath, []byte{0})
		f.Identities = g.tables.identNames(d.bound.identities(&g.tables.tests, w.Id, w.Dir, string(name)))
	}
	placed := strings.HasPrefix(f.Path, "/")
	if g != nil {
		f.Names = d.bound.names(w.Id, f.Path)
		if f.Path != f.Names[0] && !slices.Contains(f.Names, f.Path) {
			f.At = f.Path
		}
		f.Path = f.Names[0]
	} else {
		f.Names = []string{f.Path}
	}
	if placed { // else its filesystem may yet be mounted
		keep(k.files, maxFilesKept, key, f)
	}
	return f
}

// place makes a path of what the kernel gave. It reads the mount table again
// when a filesystem is not in it.
func (d *decoder) place(dev uint32, raw []byte, g *generation) string {
	d.key = append(binary.NativeEndian.AppendUint32(d.key[:0], dev), raw...)
	k := d.of(g)
	if p, ok := k.places[string(d.key)]; ok {
		return p
	}
	key, within := string(d.key), joinReversed(raw)
	if g != nil {
		if _, ok := d.bound.mounts.byDev[dev]; ok {
			p := d.bound.mounts.place(dev, within)
			if strings.HasPrefix(p, "/") {
				keep(k.places, maxFilesKept, key, p)
			}
			return p
		}
	}
	if _, ok := d.mounts.byDev[dev]; !ok && time.Since(d.checked) > time.Second {
		d.checked = time.Now()
		if m, err := readMounts(); err == nil {
			d.mounts = m
			clear(d.known)
			k = d.of(g)
		}
	}
	p := d.mounts.place(dev, within)
	if strings.HasPrefix(p, "/") {
		keep(k.places, maxFilesKept, key, p)
	}
	return p
}

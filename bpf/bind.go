package bpf

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"example.com/bailiff/internal/event"
)

// binding ties the paths that a program names to what they are now: inodes,
// names in directories, directories.
type binding struct {
	objects map[kernelFileId]*boundObject
	named   map[boundName]truth
	namedBy map[boundName][]string // the policy's paths for that name

	filePaths map[kernelFileId][]string // inode -> the policy's names for it
	dirAlias  []alias                   // where a policy's directory is a symlink
	linkAlias map[string][]string       // resolved path -> the policy's names for it
	missing   []string                  // paths whose directory does not exist: not bound yet
	watch     map[string]bool           // directories whose change asks for binding again
	mtimes    map[string]unix.Timespec  // of these, before anything in them was bound
	mounts    *mountTable
}

type boundObject struct {
	below truth // for what is below a directory, if prefix
	flags uint32
	paths []string // of a file: all the policy's names
	met   truth    // of a file
}

type boundName struct {
	dir  kernelFileId
	name string
}

type alias struct{ real, name string } // both end in "/"

const (
	objectFile   = 1
	objectPrefix = 2
	objectNames  = 4
)

// identifier asks the kernel what a descriptor refers to.
type identifier func(fd int) (kernelIdentity, error)

// bind resolves every path of the tests in the agent's mount namespace.
func bind(ts *tests, id identifier) (*binding, error) {
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	b := &binding{objects: map[kernelFileId]*boundObject{}, named: map[boundName]truth{}, namedBy: map[boundName][]string{},
		filePaths: map[kernelFileId][]string{}, linkAlias: map[string][]string{}, watch: map[string]bool{}, mtimes: map[string]unix.Timespec{}, mounts: mounts}
	dirs, err := b.bindDirs(ts, mounts, id)
	if err != nil {
		return nil, err
	}
	return b, b.bindFiles(ts, dirs, id)
}

// dirTruths knows what lies below which directory of the policy.
type dirTruths struct {
	own   map[kernelFileId]truth // directory of the policy -> its own tests
	roots map[uint32]truth       // filesystem -> tests that all of it meets
}

// below returns the prefix tests met by what is in the first directory of a chain.
func (d *dirTruths) below(chain []kernelFileId) truth {
	met := []truth{d.roots[chain[0].Dev]}
	for _, c := range chain {
		met = append(met, d.own[c])
	}
	return union(met...)
}

func (b *binding) bindDirs(ts *tests, mounts *mountTable, id identifier) (*dirTruths, error) {
	d := &dirTruths{own: map[kernelFileId]truth{}, roots: map[uint32]truth{}}
	chains := map[kernelFileId][]kernelFileId{}
	real := map[string]truth{} // resolved directory, with "/" -> own tests
	for dir, met := range ts.under {
		b.watchDir(path.Dir(strings.TrimSuffix(dir, "/"))) // first: what changes meanwhile is noticed later
		ident, err := identifyPath(dir, unix.O_DIRECTORY, id)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			b.isMissing(dir)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("bind directory %s: %w", dir, err)
		}
		d.own[ident.Id] = union(d.own[ident.Id], truth{met})
		chains[ident.Id] = slices.Clone(ident.Chain[:ident.Depth])
		r, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return nil, fmt.Errorf("resolve directory %s: %w", dir, err)
		}
		r = strings.TrimSuffix(r, "/") + "/"
		real[r] = union(real[r], truth{met})
		if r != dir {
			b.dirAlias = append(b.dirAlias, alias{real: r, name: dir})
		}
		b.watchDir(path.Dir(strings.TrimSuffix(r, "/")))
	}
	slices.SortFunc(b.dirAlias, func(x, y alias) int { return strings.Compare(x.real+x.name, y.real+y.name) })
	b.bindRoots(d, mounts, real, id)
	for ident := range d.own {
		o := b.object(ident)
		o.flags |= objectPrefix
		o.below = d.below(chains[ident])
	}
	return d, nil
}

// bindRoots gives every filesystem that is mounted below a policy's directory
// the tests of that directory, at its root.
func (b *binding) bindRoots(d *dirTruths, mounts *mountTable, real map[string]truth, id identifier) {
	for dev, ms := range mounts.byDev {
		at := strings.TrimSuffix(ms[0].at, "/") + "/"
		var met []truth
		for dir, t := range real {
			if strings.HasPrefix(at, dir) {
				met = append(met, t)
			}
		}
		if len(met) == 0 {
			continue
		}
		ident, err := identifyPath(ms[0].at, unix.O_DIRECTORY, id)
		if err != nil || ident.Id.Dev != dev {
			continue // mounted over, or a file: not reachable by that name
		}
		d.roots[dev] = union(met...)
		o := b.object(ident.Id)
		o.flags |= objectPrefix
		o.below = union(o.below, d.roots[dev])
	}
}

func (b *binding) bindFiles(ts *tests, d *dirTruths, id identifier) error {
	parents := map[string]*kernelIdentity{} // directory -> identity, nil if it is missing
	for p, met := range ts.exact {
		if strings.HasSuffix(p, "/") && p != "/" {
			continue // no canonical path ends in "/": never true, as in OPA
		}
		if err := b.bindName(p, path.Dir(p), path.Base(p), truth{met}, d, id, parents); err != nil {
			return err
		}
		ident, err := identifyPath(p, 0, id)
		if err != nil {
			continue // not there now: its name is bound
		}
		o := b.object(ident.Id)
		o.flags |= objectFile
		o.paths = append(o.paths, p)
		chain := ident.Chain[:ident.Depth]
		if ident.IsDir != 0 && ident.Depth > 1 {
			chain = chain[1:]
		}
		o.met = union(o.met, truth{met}, d.below(chain))
		b.filePaths[ident.Id] = append(b.filePaths[ident.Id], p)
		if r, err := filepath.EvalSymlinks(p); err == nil && r != p {
			b.linkAlias[r] = append(b.linkAlias[r], p)
			if err := b.bindName(p, path.Dir(r), path.Base(r), truth{met}, d, id, parents); err != nil {
				return err
			}
		}
	}
	for _, names := range b.filePaths {
		slices.Sort(names)
	}
	return nil
}

func (b *binding) bindName(p, dir, name string, met truth, d *dirTruths, id identifier, parents map[string]*kernelIdentity) error {
	parent, known := parents[dir]
	if !known {
		ident, err := identifyPath(dir, unix.O_DIRECTORY, id)
		switch {
		case err == nil:
			parent = &ident
			o := b.object(ident.Id)
			o.flags |= objectNames
		case errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ENAMETOOLONG):
		default:
			return fmt.Errorf("bind %s: %w", p, err)
		}
		parents[dir] = parent
	}
	if parent == nil {
		b.isMissing(p)
		return nil
	}
	b.watchDir(dir)
	key := boundName{parent.Id, name}
	b.named[key] = union(b.named[key], met, d.below(parent.Chain[:parent.Depth]))
	b.namedBy[key] = append(b.namedBy[key], p)
	return nil
}

// isMissing notes a path that cannot be bound, and the nearest directory above
// it in which something must appear first.
func (b *binding) isMissing(p string) {
	b.missing = append(b.missing, p)
	p = strings.TrimSuffix(p, "/")
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		var st unix.Stat_t
		if unix.Stat(dir, &st) == nil || dir == "/" {
			b.watchDir(dir)
			return
		}
	}
}

// watchDir notes that what happens in a directory may ask for binding again.
func (b *binding) watchDir(dir string) {
	if b.watch[dir] {
		return
	}
	b.watch[dir] = true
	var st unix.Stat_t
	if unix.Stat(dir, &st) == nil {
		b.mtimes[dir] = st.Mtim
	}
}

func (b *binding) object(id kernelFileId) *boundObject {
	o := b.objects[id]
	if o == nil {
		o = &boundObject{}
		b.objects[id] = o
	}
	return o
}

func identifyPath(p string, flags int, id identifier) (kernelIdentity, error) {
	fd, err := unix.Open(p, unix.O_PATH|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return kernelIdentity{}, err
	}
	defer unix.Close(fd)
	return id(fd)
}

// names returns all canonical names of a file, the one to show first.
func (b *binding) names(id kernelFileId, placed string) []string {
	if bound := b.filePaths[id]; len(bound) > 0 {
		if slices.Contains(bound, placed) {
			return append([]string{placed}, slices.DeleteFunc(slices.Clone(bound), func(s string) bool { return s == placed })...)
		}
		return bound
	}
	if by := b.linkAlias[placed]; len(by) > 0 {
		return append([]string{placed}, by...)
	}
	out := []string{placed}
	for _, a := range b.dirAlias {
		if rest, ok := strings.CutPrefix(placed, a.real); ok {
			out = append(out, a.name+rest)
		}
	}
	return out
}

func toFileID(id kernelFileId) event.FileID {
	return event.FileID{Dev: id.Dev, Gen: id.Gen, Ino: id.Ino}
}

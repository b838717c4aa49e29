package bpf

import (
	"errors"
	"fmt"
	"maps"
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
	shells  map[boundName]bool     // names of shells

	filePaths map[kernelFileId][]string // inode -> the policy's names for it
	links     map[string]bool           // paths of the policy that are symlinks
	dirs      map[string]dirHandle      // directories of the policy
	dirAlias  []alias                   // where a policy's directory is a symlink
	linkAlias map[string][]string       // resolved path -> the policy's names for it
	missing   int                       // paths whose directory does not exist: not bound yet
	watch     map[string]bool           // directories whose change asks for binding again
	mtimes    map[string]unix.Timespec  // of these, before anything in them was bound
	mounts    *mountTable
}

type boundObject struct {
	below truth // for what is below a directory, if prefix
	shell bool  // the file is a shell
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

// bind resolves every path of the tests in the agent's mount namespace. What was
// moved away since before keeps its name; before may be nil.
func bind(ts *tests, id identifier, before *binding) (*binding, error) {
	mounts, err := readMounts()
	if err != nil {
		return nil, err
	}
	b := &binding{objects: map[kernelFileId]*boundObject{}, named: map[boundName]truth{}, namedBy: map[boundName][]string{}, shells: map[boundName]bool{},
		filePaths: map[kernelFileId][]string{}, links: map[string]bool{}, dirs: map[string]dirHandle{}, linkAlias: map[string][]string{}, watch: map[string]bool{}, mtimes: map[string]unix.Timespec{}, mounts: mounts}
	dirs, err := b.bindDirs(ts, mounts, id, before)
	if err != nil {
		return nil, err
	}
	if err := b.bindFiles(ts, dirs, id); err != nil {
		return nil, err
	}
	b.bindMoved(ts, before)
	for _, names := range b.filePaths {
		slices.Sort(names)
	}
	return b, nil
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

func (b *binding) bindDirs(ts *tests, mounts *mountTable, id identifier, before *binding) (*dirTruths, error) {
	d := &dirTruths{own: map[kernelFileId]truth{}, roots: map[uint32]truth{}}
	chains := map[kernelFileId][]kernelFileId{}
	real := map[string]truth{} // resolved directory, with "/" -> own tests
	for dir, met := range ts.under {
		b.watchDir(path.Dir(strings.TrimSuffix(dir, "/"))) // first: what changes meanwhile is noticed later
		ident, at, err := b.findDir(dir, id, before)
		if err != nil {
			return nil, fmt.Errorf("bind directory %s: %w", dir, err)
		}
		if ident == nil {
			continue
		}
		met := truth{met}
		if at != dir {
			met = union(met, ts.below(dir)) // of what is above the place that it had
		}
		d.own[ident.Id] = union(d.own[ident.Id], met)
		chains[ident.Id] = slices.Clone(ident.Chain[:ident.Depth])
		r := at // it is resolved already if it is another
		if at == dir {
			if r, err = filepath.EvalSymlinks(dir); err != nil {
				return nil, fmt.Errorf("resolve directory %s: %w", dir, err)
			}
		}
		r = strings.TrimSuffix(r, "/") + "/"
		real[r] = union(real[r], met)
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
	for _, p := range ts.shells {
		b.watchDir(path.Dir(p)) // where links to them are
	}
	exact, shells := ts.exact, shellPaths(ts.shells)
	if len(shells) > 0 {
		exact = maps.Clone(exact)
		for p := range shells {
			exact[p] = append([]int(nil), exact[p]...) // bound like a path that rules name
		}
	}
	for p, met := range exact {
		if strings.HasSuffix(p, "/") && p != "/" {
			continue // no canonical path ends in "/": never true, as in OPA
		}
		there, err := b.bindName(p, path.Dir(p), path.Base(p), truth{met}, d, id, parents)
		if err != nil {
			return err
		}
		if there && shells[p] {
			b.shells[boundName{parents[path.Dir(p)].Id, path.Base(p)}] = true
		}
		if !there {
			continue // nothing to ask about: of 100,000 paths most may be on other machines
		}
		ident, err := identifyPath(p, 0, id)
		if err != nil {
			continue // not there now: its name is bound
		}
		o := b.object(ident.Id)
		o.flags |= objectFile
		o.shell = o.shell || shells[p]
		o.paths = append(o.paths, p)
		chain := ident.Chain[:ident.Depth]
		if ident.IsDir != 0 && ident.Depth > 1 {
			chain = chain[1:]
		}
		o.met = union(o.met, truth{met}, d.below(chain))
		b.filePaths[ident.Id] = append(b.filePaths[ident.Id], p)
		if r, err := filepath.EvalSymlinks(p); err == nil && r != p {
			b.linkAlias[r] = append(b.linkAlias[r], p)
			b.links[p] = isLink(p)
			if _, err := b.bindName(p, path.Dir(r), path.Base(r), truth{met}, d, id, parents); err != nil {
				return err
			}
		}
	}
	return nil
}

// shellPaths returns where shells are: links are followed, so that none gets a name
// that no rule gave it. One that is missing is where it would be.
func shellPaths(listed []string) map[string]bool {
	out := map[string]bool{}
	for _, p := range listed {
		real, err := filepath.EvalSymlinks(p)
		if err != nil {
			if real, err = filepath.EvalSymlinks(path.Dir(p)); err != nil {
				real = path.Dir(p)
			}
			real = path.Join(real, path.Base(p))
		}
		out[real] = true
	}
	return out
}

// isShell reports whether a file is a shell, as the kernel finds it.
func (b *binding) isShell(id, dir kernelFileId, name string) bool {
	if o := b.objects[id]; o != nil && o.flags&objectFile != 0 {
		return o.shell
	}
	return b.shells[boundName{dir, name}]
}

// identities returns the bits of a file's identities, as the kernel finds them.
func (b *binding) identities(ts *tests, id, dir kernelFileId, name string) uint64 {
	paths := b.filePaths[id]
	if len(paths) == 0 {
		paths = b.namedBy[boundName{dir, name}]
	}
	return ts.identsOf(paths)
}

// bindName binds a name in a directory; false if there is no such directory.
func (b *binding) bindName(p, dir, name string, met truth, d *dirTruths, id identifier, parents map[string]*kernelIdentity) (bool, error) {
	parent, known := parents[dir]
	if !known {
		var err error
		if parent, err = b.identifyDir(dir, id); err != nil && !errors.Is(err, unix.ENAMETOOLONG) {
			return false, fmt.Errorf("bind %s: %w", p, err)
		}
		if parent != nil {
			b.object(parent.Id).flags |= objectNames
			b.watchDir(dir)
		}
		parents[dir] = parent
	}
	if parent == nil {
		b.missing++
		return false, nil
	}
	key := boundName{parent.Id, name}
	b.named[key] = union(b.named[key], met, d.below(parent.Chain[:parent.Depth]))
	b.namedBy[key] = append(b.namedBy[key], p)
	return true, nil
}

// identifyDir asks what a directory is. If there is none the answer is nil, and
// the nearest one above it, in which something must appear first, is watched.
func (b *binding) identifyDir(dir string, id identifier) (*kernelIdentity, error) {
	ident, err := identifyPath(dir, unix.O_DIRECTORY, id)
	if isAbsent(err) {
		b.watchAbove(dir)
		// Once more: what appeared before that is not noticed later.
		ident, err = identifyPath(dir, unix.O_DIRECTORY, id)
	}
	switch {
	case isAbsent(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &ident, nil
}

func isAbsent(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) }

func (b *binding) watchAbove(p string) {
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
		if rest, ok := strings.CutPrefix(placed, a.real); ok && !slices.Contains(out, a.name+rest) {
			out = append(out, a.name+rest)
		}
	}
	return out
}

func toFileID(id kernelFileId) event.FileID {
	return event.FileID{Dev: id.Dev, Gen: id.Gen, Ino: id.Ino}
}

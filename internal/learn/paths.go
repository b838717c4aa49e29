package learn

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// kind is what is done to a path: the worse it is, the less is grouped.
type kind int

const (
	kindRead kind = iota
	kindWrite
	kindExec
)

// How many files of one directory make the directory stand for them.
var enough = map[kind]int{kindRead: 4, kindWrite: 6, kindExec: 1 << 30}

// shallow directories never stand for what is below them.
const minDepth = 2

// What looks as if it were made anew each time: mktemp's names, long hex, process
// ids, uuids.
var temporaryName = regexp.MustCompile(`^(.*[._-])?([A-Za-z0-9]{6,}|[0-9]{2,})([._-].*)?$`)

func temporary(p string) bool { return temporaryPart(path.Base(p)) }

func temporaryPart(name string) bool {
	m := temporaryName.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	core := m[2]
	if len(core) >= 6 && strings.HasPrefix(strings.TrimPrefix(name, "."), "tmp") {
		return true
	}
	digits, upper, lower, hex := 0, 0, 0, 0
	for _, c := range core {
		switch {
		case c >= '0' && c <= '9':
			digits++
			hex++
		case c >= 'A' && c <= 'Z':
			upper++
		default:
			lower++
			if c <= 'f' {
				hex++
			}
		}
	}
	switch {
	case digits == len(core):
		return len(core) >= 4 // a pid, a time; not a version
	case hex == len(core) && len(core) >= 8:
		return true
	}
	kinds := 0
	for _, n := range []int{digits, upper, lower} {
		if n > 0 {
			kinds++
		}
	}
	return kinds == 3 || len(core) >= 8 && digits >= 2 && upper+lower >= 2 && m[1] != ""
}

// group splits paths into those that are named one by one and directories that
// stand for all that is below them.
func group(paths map[string]*seen, k kind, p *Proposal) (exact, dirs []string) {
	below := map[string]map[string]bool{} // directory -> files in it
	for name := range paths {
		dir := path.Dir(name)
		if below[dir] == nil {
			below[dir] = map[string]bool{}
		}
		below[dir][path.Base(name)] = true
	}
	stands := map[string]string{} // directory -> why
	for dir, files := range below {
		if why := standsFor(dir, files, paths, k); why != "" {
			stands[top(dir)] = why
		}
	}
	for _, name := range keys(paths) {
		if !covered(stands, name) {
			exact = append(exact, name)
		}
	}
	for dir, why := range stands {
		if covered(stands, dir) {
			continue // one above it stands for it
		}
		dirs = append(dirs, dir+"/")
		p.doubt(DoubtGrouped, dir+"/", why)
		if strings.HasPrefix(dir+"/", "/tmp/") || strings.HasPrefix(dir+"/", "/var/tmp/") || strings.HasPrefix(dir+"/", "/dev/shm/") {
			p.doubt(DoubtWritable, dir+"/", "everybody may write there")
		}
	}
	slices.Sort(dirs)
	return emptyNotNil(exact), emptyNotNil(dirs)
}

// top is the directory that is taken: in a path with a part that is made anew
// each time, the one above that part.
func top(dir string) string {
	parts := strings.Split(dir, "/")
	if len(parts) > 2 && parts[1] == "proc" && strings.Trim(parts[2], "0123456789") == "" {
		return "/proc" // of a process
	}
	for i, part := range parts {
		if i > 0 && temporaryPart(part) && part != "" {
			return strings.Join(parts[:i], "/")
		}
	}
	return dir
}

// standsFor says why a directory stands for what is in it; "": it does not.
func standsFor(dir string, files map[string]bool, paths map[string]*seen, k kind) string {
	dir = strings.TrimSuffix(dir, "/")
	at := top(dir)
	if depth := strings.Count(at, "/"); depth < minDepth && at != "/proc" && at != "/sys" && at != "/tmp" {
		return ""
	}
	if k == kindExec {
		return "" // each program by name
	}
	if strings.HasPrefix(dir, "/proc/") || strings.HasPrefix(dir, "/sys/") {
		if k == kindRead && at != dir {
			return "a path with a number that is another each time"
		}
		return ""
	}
	if at != dir {
		return "a path with a part that is made anew each time"
	}
	for f := range files {
		if temporaryPart(f) {
			return fmt.Sprintf("%s looks as if it were made anew each time", path.Join(dir, f))
		}
	}
	if len(files) < enough[k] {
		return ""
	}
	if k == kindRead {
		return fmt.Sprintf("%d files in it were read", len(files))
	}
	// Writing is grouped only where the service itself owns the place.
	for f := range files {
		if s := paths[path.Join(dir, f)]; s == nil || s.file.DirMode&0o002 != 0 {
			return ""
		}
	}
	return fmt.Sprintf("%d files in it were written to", len(files))
}

func covered(dirs map[string]string, name string) bool {
	for d := path.Dir(name); d != "/" && d != "."; d = path.Dir(d) {
		if _, ok := dirs[d]; ok {
			return true
		}
	}
	return false
}

func below(dirs []string, name string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return strings.HasPrefix(name, d) })
}

func emptyNotNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

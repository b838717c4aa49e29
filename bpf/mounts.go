package bpf

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// mount is one line of /proc/self/mountinfo.
type mount struct {
	dev  uint32 // kernel encoding
	root string // within the filesystem
	at   string // mount point
}

// mountTable places paths within a filesystem where it is mounted in the
// agent's mount namespace.
type mountTable struct {
	all   []mount
	byDev map[uint32][]mount // shortest root first, then in mount order
}

func readMounts() (*mountTable, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	defer f.Close()
	return parseMounts(f)
}

func parseMounts(r io.Reader) (*mountTable, error) {
	t := &mountTable{byDev: map[uint32][]mount{}}
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 1<<16), 1<<20)
	for sc.Scan() {
		f := strings.Fields(sc.Text())
		if len(f) < 5 {
			continue
		}
		major, minor, ok := strings.Cut(f[2], ":")
		ma, err1 := strconv.ParseUint(major, 10, 12)
		mi, err2 := strconv.ParseUint(minor, 10, 20)
		if !ok || err1 != nil || err2 != nil {
			continue
		}
		m := mount{dev: uint32(ma)<<20 | uint32(mi), root: unescape(f[3]), at: unescape(f[4])}
		t.all = append(t.all, m)
		t.byDev[m.dev] = append(t.byDev[m.dev], m)
	}
	for _, ms := range t.byDev {
		slices.SortStableFunc(ms, func(a, b mount) int { return len(a.root) - len(b.root) })
	}
	return t, sc.Err()
}

// unescape undoes the octal escapes of mountinfo (space, tab, newline, backslash).
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// place returns the canonical path of a path within a filesystem. What cannot
// be reached from the agent's namespace gets "[major:minor]/path".
func (t *mountTable) place(dev uint32, within string) string {
	for _, m := range t.byDev[dev] {
		rest, ok := cutDir(within, m.root)
		if !ok {
			continue
		}
		if m.at == "/" {
			return rest
		}
		if rest == "/" {
			return m.at
		}
		return m.at + rest
	}
	return fmt.Sprintf("[%d:%d]%s", dev>>20, dev&0xfffff, within)
}

// cutDir removes the directory dir from the front of p; what is left begins
// with "/".
func cutDir(p, dir string) (string, bool) {
	if dir == "/" {
		return p, true
	}
	rest, ok := strings.CutPrefix(p, dir)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	if rest == "" {
		rest = "/"
	}
	return rest, true
}

// joinReversed makes a path of components that come last first, each ended by
// NUL, as the kernel writes them.
func joinReversed(raw []byte) string {
	parts := strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
	if len(raw) == 0 {
		return "/"
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(parts[i])
	}
	return b.String()
}

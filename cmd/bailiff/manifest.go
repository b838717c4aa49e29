package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// makeLockdown lists what the packages below root ship and can be executed.
func makeLockdown(ctx context.Context, from, root string, files, directories []string) (*lockdownData, error) {
	var names map[string]string
	var err error
	if from == "rpm" {
		names, err = rpmFiles(ctx, root)
	} else {
		names, err = dpkgFiles(root)
	}
	if err != nil {
		return nil, err
	}
	d := &lockdownData{Programs: map[string]string{}, Directories: []string{}, Exceptions: lockdownExceptions{File: []string{}, Exe: []string{}, Below: managers[from]}}
	for name, pkg := range names {
		if p, ok := executable(root, name); ok {
			d.Programs[p] = pkg
		}
	}
	if len(d.Programs) == 0 {
		return nil, &userError{Code: "no-packages", Why: errNothingInstalled.Error(), Hint: "is " + from + " the package manager below " + root + "? See --from and --root"}
	}
	for _, name := range files {
		p, ok := executable(root, name)
		if !ok {
			return nil, &userError{Code: "not-executable", File: name, Why: "it is no executable file", Hint: "only what can be run belongs on the list"}
		}
		d.Programs[p] = namedByHand
	}
	for _, dir := range directories {
		if !filepath.IsAbs(dir) || !strings.HasSuffix(dir, "/") || filepath.Clean(dir)+"/" != dir {
			return nil, &userError{Code: "not-a-directory", File: dir, Why: "--allow needs a clean absolute directory that ends in /"}
		}
		d.Directories = append(d.Directories, dir)
	}
	return d, nil
}

// namedByHand stands where a package would, for a file that the caller named.
const namedByHand = "named by hand"

// executable returns the canonical path of a file below root, as the kernel sees
// it, and whether it can be executed. Links are followed within root.
func executable(root, name string) (string, bool) {
	// A link that leads elsewhere (alternatives) leads to what is run.
	for range 40 {
		dir, err := filepath.EvalSymlinks(filepath.Join(root, filepath.Dir(name)))
		if err != nil {
			return "", false
		}
		full := filepath.Join(dir, filepath.Base(name))
		st, err := os.Lstat(full)
		if err != nil {
			return "", false
		}
		inside := "/" + strings.TrimPrefix(strings.TrimPrefix(full, filepath.Clean(root)), "/")
		if st.Mode().Type() == os.ModeSymlink {
			to, err := os.Readlink(full)
			if err != nil {
				return "", false
			}
			if name = to; !filepath.IsAbs(to) {
				name = filepath.Join(filepath.Dir(inside), to)
			}
			continue
		}
		return inside, st.Mode().IsRegular() && st.Mode().Perm()&0o111 != 0
	}
	return "", false
}

// dpkgFiles reads the lists that dpkg keeps of what it installed, and where it
// put what was diverted: path -> package.
func dpkgFiles(root string) (map[string]string, error) {
	dir := filepath.Join(root, "var/lib/dpkg")
	lists, err := filepath.Glob(filepath.Join(dir, "info", "*.list"))
	if err != nil {
		return nil, fmt.Errorf("find lists of dpkg: %w", err)
	}
	out := map[string]string{}
	for _, list := range lists {
		b, err := os.ReadFile(list)
		if err != nil {
			return nil, fmt.Errorf("read list of dpkg: %w", err)
		}
		pkg, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(list), ".list"), ":")
		for _, name := range lines(b) {
			out[name] = pkg
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "diversions"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read diversions of dpkg: %w", err)
	}
	// Three lines each: from, to, for whom.
	diverted := lines(b)
	for i := 2; i < len(diverted); i += 3 {
		out[diverted[i-1]] = out[diverted[i-2]]
	}
	return out, nil
}

// rpmFiles asks rpm for all files of all packages: path -> package.
func rpmFiles(ctx context.Context, root string) (map[string]string, error) {
	args := []string{"-qa", "--qf", `[%{=NAME} %{FILENAMES}\n]`}
	if filepath.Clean(root) != "/" {
		args = append([]string{"--root", root}, args...)
	}
	cmd := exec.CommandContext(ctx, "rpm", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ask rpm for files: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	out := map[string]string{}
	for _, line := range lines(b) {
		if pkg, name, ok := strings.Cut(line, " "); ok {
			out[name] = pkg
		}
	}
	return out, nil
}

func lines(b []byte) []string {
	var out []string
	sc := bufio.NewScanner(bytes.NewReader(b))
	for sc.Scan() {
		if sc.Text() != "" {
			out = append(out, sc.Text())
		}
	}
	return out
}

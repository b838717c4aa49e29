package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/loader/filter"
)

// files gives the contents of a bundle to OPA's reader and keeps the texts,
// which error messages quote. Test files stay out: they run under `opa test`,
// not here.
type files struct {
	entries []entry // what is part of the policy, in the order of the bundle
	quoted  []entry // files of packs, which messages quote too
	limits  Limits
	next    int
}

// newFiles takes what is part of a policy.
func newFiles(c *contents) *files {
	f := &files{limits: c.limits}
	for _, e := range c.entries {
		if !strings.HasSuffix(e.path, "_test.rego") && !hidden(e.path) {
			f.entries = append(f.entries, e)
		}
	}
	return f
}

// allFiles is newFiles with the tests.
func allFiles(c *contents) *files {
	f := &files{limits: c.limits}
	for _, e := range c.entries {
		if !hidden(e.path) {
			f.entries = append(f.entries, e)
		}
	}
	return f
}

// NextFile returns the next file that is part of a policy.
func (f *files) NextFile() (*bundle.Descriptor, error) {
	if f.next == len(f.entries) {
		return nil, io.EOF
	}
	e := f.entries[f.next]
	f.next++
	return bundle.NewDescriptor(e.path, "/"+e.path, bytes.NewReader(e.data)), nil
}

// The options of the loader have no say: the contents are in memory.

func (f *files) WithFilter(filter.LoaderFilter) bundle.DirectoryLoader   { return f }
func (f *files) WithPathFormat(bundle.PathFormat) bundle.DirectoryLoader { return f }
func (f *files) WithSizeLimitBytes(int64) bundle.DirectoryLoader         { return f }
func (f *files) WithFollowSymlinks(bool) bundle.DirectoryLoader          { return f }

// mention reports whether a word stands somewhere in the bundle or its packs.
func (f *files) mention(word string) bool {
	has := func(e entry) bool { return bytes.Contains(e.data, []byte(word)) }
	return slices.ContainsFunc(f.entries, has) || slices.ContainsFunc(f.quoted, has)
}

// sum is a digest over names and contents.
func (f *files) sum() [sha256.Size]byte {
	h := sha256.New()
	for _, e := range f.entries {
		if policyFile(e.path) {
			fmt.Fprintf(h, "%d:%s%d:", len(e.path), e.path, len(e.data))
			h.Write(e.data)
		}
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func short16(sum [sha256.Size]byte) string { return "sha256:" + hex.EncodeToString(sum[:8]) }

// line returns one source line, without its end; "" if there is none.
func (f *files) line(file string, n int) string {
	for _, e := range slices.Concat(f.entries, f.quoted) {
		if e.path != file {
			continue
		}
		lines := bytes.Split(e.data, []byte("\n"))
		if n < 1 || n > len(lines) {
			return ""
		}
		return strings.TrimRight(string(lines[n-1]), "\r")
	}
	return ""
}

func policyFile(path string) bool {
	base := filepath.Base(path)
	return strings.HasSuffix(base, bundle.RegoExt) || base == "data.json" || base == "data.yaml" || base == "data.yml" ||
		base == bundle.ManifestExt || base == patchFile
}

// patchFile is what makes a bundle a delta.
const patchFile = "patch.json"

// hidden keeps version control and the like out; .manifest and .signatures.json are not.
func hidden(path string) bool {
	dirs := strings.Split(path, "/")
	for _, d := range dirs[:len(dirs)-1] {
		if strings.HasPrefix(d, ".") {
			return true
		}
	}
	return false
}

func within(path string) string { return strings.TrimPrefix(filepath.ToSlash(path), "/") }

// read turns the files into a bundle: modules parsed with annotations, data
// merged. Signatures have been verified before, over all files.
func (f *files) read() (*bundle.Bundle, error) {
	f.next = 0
	b, err := bundle.NewCustomReader(f).WithProcessAnnotations(true).WithSkipBundleVerification(true).
		WithRegoVersion(ast.RegoV1).WithSizeLimitBytes(f.limits.FileBytes).Read()
	if err != nil {
		return nil, f.readError(err)
	}
	return &b, nil
}

var (
	failedOn = regexp.MustCompile(`(?s)^bundle load failed on (\S+): (.*)$`)
	yamlLine = regexp.MustCompile(`line (\d+)`)
)

// readError gives what OPA's reader says a place.
func (f *files) readError(err error) error {
	var list ast.Errors
	if errors.As(err, &list) {
		return f.errors(list)
	}
	e := &Error{Code: CodeRead, Why: err.Error()}
	if m := failedOn.FindStringSubmatch(e.Why); m != nil {
		e.File, e.Why = within(m[1]), m[2]
		e.Hint = "correct the file; `bailiff check` reads it as the agent does"
		for _, d := range f.entries {
			if d.path != e.File {
				continue
			}
			if strings.HasSuffix(d.path, ".json") {
				var v any
				var at Errors
				if errors.As(strictJSON(d.path, d.data, &v), &at) {
					e.Line, e.Why = at[0].Line, at[0].Why
				}
			} else if n := yamlLine.FindStringSubmatch(e.Why); n != nil {
				e.Line, _ = strconv.Atoi(n[1])
			}
		}
		return Errors{e}
	}
	if strings.HasPrefix(e.Why, "manifest ") {
		e.Code, e.File, e.Hint = CodeManifest, bundle.ManifestExt, "the roots name, with slashes, every part of data and every package that the bundle may define"
		return Errors{e}
	}
	for _, d := range f.entries {
		if strings.Contains(e.Why, d.path) {
			e.File = d.path
		}
	}
	if _, why, ok := strings.Cut(e.Why, ast.ParseErr+": "); ok {
		return Errors{{Code: CodeParse, File: e.File, Line: 1, Why: why, Hint: usualHint(CodeParse, why)}}
	}
	e.Why, e.Hint = "read bundle: "+e.Why, "correct the file; `bailiff check` reads it as the agent does"
	return Errors{e}
}

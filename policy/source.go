package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/loader/filter"
)

// files reads a bundle through OPA's loader and keeps the Rego sources, which
// error messages quote, and a digest, which is the revision of a bundle that
// names none. Test files stay out: they run under `opa test`, not here.
type files struct {
	bundle.DirectoryLoader
	sources map[string][]byte // by path within the bundle
	digest  hash.Hash
	limit   int64
}

func newFiles(l bundle.DirectoryLoader, limit int64) *files {
	return &files{DirectoryLoader: l.WithSizeLimitBytes(limit), sources: map[string][]byte{}, digest: sha256.New(), limit: limit}
}

// NextFile returns the next file that is part of a policy.
func (f *files) NextFile() (*bundle.Descriptor, error) {
	for {
		d, err := f.DirectoryLoader.NextFile()
		if err != nil {
			return nil, err
		}
		path := within(d.Path())
		if strings.HasSuffix(path, "_test.rego") || hidden(path) {
			continue
		}
		var buf bytes.Buffer
		_, err = d.Read(&buf, f.limit)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		if err := d.Close(); err != nil {
			return nil, fmt.Errorf("close %s: %w", path, err)
		}
		if strings.HasSuffix(path, bundle.RegoExt) {
			f.sources[path] = buf.Bytes()
		}
		if policyFile(path) {
			fmt.Fprintf(f.digest, "%d:%s%d:", len(path), path, buf.Len())
			f.digest.Write(buf.Bytes())
		}
		return bundle.NewDescriptor(path, "/"+path, bytes.NewReader(buf.Bytes())), nil
	}
}

// The options of the loader are set once, in newFiles.

func (f *files) WithFilter(filter.LoaderFilter) bundle.DirectoryLoader   { return f }
func (f *files) WithPathFormat(bundle.PathFormat) bundle.DirectoryLoader { return f }
func (f *files) WithSizeLimitBytes(int64) bundle.DirectoryLoader         { return f }
func (f *files) WithFollowSymlinks(bool) bundle.DirectoryLoader          { return f }

func (f *files) revision() string { return "sha256:" + hex.EncodeToString(f.digest.Sum(nil))[:16] }

// line returns one source line, without its end; "" if there is none.
func (f *files) line(file string, n int) string {
	lines := strings.Split(string(f.sources[file]), "\n")
	if n < 1 || n > len(lines) {
		return ""
	}
	return strings.TrimRight(lines[n-1], "\r")
}

func policyFile(path string) bool {
	base := filepath.Base(path)
	return strings.HasSuffix(base, bundle.RegoExt) || base == "data.json" || base == "data.yaml" || base == "data.yml" ||
		base == bundle.ManifestExt
}

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

// read turns the files into a bundle: modules parsed with annotations, data merged.
func (f *files) read() (*bundle.Bundle, error) {
	b, err := bundle.NewCustomReader(f).WithProcessAnnotations(true).WithSkipBundleVerification(true).
		WithRegoVersion(ast.RegoV1).Read()
	if err != nil {
		return nil, f.readError(err)
	}
	return &b, nil
}

func (f *files) readError(err error) error {
	var list ast.Errors
	if errors.As(err, &list) {
		return f.errors(list)
	}
	return Errors{{Code: CodeRead, Why: fmt.Sprintf("read bundle: %v", err)}}
}

// readPath reads a directory or a tar.gz file.
func readPath(path string, limit int64) (*files, *bundle.Bundle, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, Errors{{Code: CodeRead, Why: fmt.Sprintf("open bundle: %v", err), Hint: "name a directory or a .tar.gz file"}}
	}
	if info.IsDir() {
		return readFrom(bundle.NewDirectoryLoader(path), limit)
	}
	fh, err := os.Open(path)
	if err != nil {
		return nil, nil, Errors{{Code: CodeRead, Why: fmt.Sprintf("open bundle: %v", err)}}
	}
	defer fh.Close()
	return readFrom(bundle.NewTarballLoaderWithBaseURL(fh, ""), limit)
}

func readFS(fsys fs.FS, limit int64) (*files, *bundle.Bundle, error) {
	// Passthrough: with root "." the other formats cut the dot of hidden files.
	return readFrom(bundle.NewFSLoaderWithRoot(fsys, ".").WithPathFormat(bundle.Passthrough), limit)
}

func readFrom(l bundle.DirectoryLoader, limit int64) (*files, *bundle.Bundle, error) {
	f := newFiles(l, limit)
	b, err := f.read()
	return f, b, err
}

package policy

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/open-policy-agent/opa/v1/bundle"
)

// Archive is a bundle of which the contents were read, held to the limits and,
// where keys are configured, verified. Nothing in it has been compiled. It is
// immutable.
type Archive struct {
	Revision string // the manifest's, or a digest of the files
	Serial   uint64 // metadata.bailiff.serial of the manifest; 0: none
	Base     string // metadata.bailiff.base: the revision that a delta is for; "": not said
	KeyID    string // of the key that verified it; "": no keys are configured
	Delta    bool   // it holds changes to another bundle, not rules

	Digest [sha256.Size]byte // over names and contents of all that makes up the policy

	all     []entry // with what is no part of the policy but is signed too
	files   *files
	options Options
	roots   []string                // of a delta: nil if its manifest names none
	patches []bundle.PatchOperation // to be made before it is compiled; of a delta: its changes
}

// Open reads a bundle from a directory or a tar.gz file.
func Open(path string, o Options) (*Archive, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, readError("open bundle", err)
	}
	if info.IsDir() {
		c, err := walkDir(path, o.Limits, o.Keys != nil)
		return newArchive(c, err, o)
	}
	fh, err := os.Open(path)
	if err != nil {
		return nil, readError("open bundle", err)
	}
	defer fh.Close()
	return Read(fh, o)
}

// OpenFS reads a bundle from a file system, such as the embedded rules.
func OpenFS(fsys fs.FS, o Options) (*Archive, error) {
	c, err := walkFS(fsys, o.Limits, o.Keys != nil)
	return newArchive(c, err, o)
}

// Read reads a bundle from a tar.gz stream.
func Read(r io.Reader, o Options) (*Archive, error) {
	c, err := unpack(r, o.Limits)
	return newArchive(c, err, o)
}

func newArchive(c *contents, err error, o Options) (*Archive, error) {
	if err != nil {
		return nil, err
	}
	a := &Archive{options: o, all: c.entries, files: newFiles(c)}
	if o.Keys != nil {
		if a.KeyID, err = o.Keys.verify(c.entries); err != nil {
			return nil, err
		}
	}
	if err := a.files.scan(); err != nil {
		return nil, err
	}
	m, k, err := a.files.manifest()
	if err != nil {
		return nil, err
	}
	a.Revision, a.Serial, a.Base, a.Digest = m.Revision, k.Serial, k.Base, a.files.sum()
	if a.Revision == "" {
		a.Revision = short16(a.Digest)
	}
	a.Delta = slices.ContainsFunc(a.files.entries, func(e entry) bool { return e.path == patchFile })
	if a.Delta {
		return a, a.readDelta(m)
	}
	return a, nil
}

// Size is that of all files together, unpacked, in bytes.
func (a *Archive) Size() (n int64) {
	for _, e := range a.all {
		n += int64(len(e.data))
	}
	return n
}

// Pack writes the bundle as a tar.gz archive, with all its files, so that a
// signature stays good.
func (a *Archive) Pack(w io.Writer) error {
	zw, err := gzip.NewWriterLevel(w, gzip.BestSpeed)
	if err != nil {
		return err
	}
	tw := tar.NewWriter(zw)
	for _, e := range a.all {
		if err := tw.WriteHeader(&tar.Header{Name: e.path, Mode: 0o644, Size: int64(len(e.data)), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		if _, err := tw.Write(e.data); err != nil {
			return err
		}
	}
	return errors.Join(tw.Close(), zw.Close())
}

// Load reads a bundle from a directory or a tar.gz file, compiles and lowers
// it. A bundle that is not right is refused whole: the error is an Errors.
func Load(ctx context.Context, path string, o Options) (*Policy, *Report, error) {
	a, err := Open(path, o)
	if err != nil {
		return nil, nil, err
	}
	return a.Compile(ctx)
}

// LoadFS is Load for a file system, such as the embedded default bundle.
func LoadFS(ctx context.Context, fsys fs.FS, o Options) (*Policy, *Report, error) {
	a, err := OpenFS(fsys, o)
	if err != nil {
		return nil, nil, err
	}
	return a.Compile(ctx)
}

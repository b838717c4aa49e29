package policy

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestRefused compares what is said about bundles that are not right with the
// golden files in testdata/load.
func TestRefused(t *testing.T) {
	files, err := filepath.Glob("testdata/load/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, file, a, lowered(t, bundleFS(a)))
		})
	}
}

const small = "package bailiff.exec\n\n# METADATA\n# custom: {id: sh}\ndeny contains \"no shell\" if input.file.path in data.shells\n"

// TestSources: a directory, a tar.gz and a file system give the same policy, and
// test files and version control are no part of it.
func TestSources(t *testing.T) {
	ctx := context.Background()
	content := map[string]string{
		"exec/sh.rego": small, "data.json": `{"shells": ["/bin/sh"]}`,
		"exec/sh_test.rego": "package bailiff.exec_test\n\ntest_x if input.nothing.of.the.kind\n",
		".git/x.rego":       "not rego", "README.md": "text",
	}
	dir, fsys := t.TempDir(), fstest.MapFS{}
	tarball := filepath.Join(t.TempDir(), "b.tar.gz")
	fh, err := os.Create(tarball)
	if err != nil {
		t.Fatal(err)
	}
	zw := gzip.NewWriter(fh)
	tw := tar.NewWriter(zw)
	for _, name := range sortedKeys(content) {
		text := content[name]
		fsys[name] = &fstest.MapFile{Data: []byte(text)}
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := tw.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close(), fh.Close()); err != nil {
		t.Fatal(err)
	}
	var revisions []string
	for _, load := range []func() (*Policy, *Report, error){
		func() (*Policy, *Report, error) { return Load(ctx, dir, Options{}) },
		func() (*Policy, *Report, error) { return Load(ctx, tarball, Options{}) },
		func() (*Policy, *Report, error) { return LoadFS(ctx, fsys, Options{}) },
	} {
		p, r, err := load()
		if err != nil {
			t.Fatal(err)
		}
		if e := p.Explain(); len(e) != 1 || e[0].Rule.ID != "sh" || e[0].Rule.File != "exec/sh.rego" || e[0].Rule.Line != 5 || r.Lowered != 1 {
			t.Errorf("%+v %+v", e, r)
		}
		revisions = append(revisions, r.Revision)
		p.Close(ctx)
	}
	if revisions[0] != revisions[1] || revisions[1] != revisions[2] || !strings.HasPrefix(revisions[0], "sha256:") {
		t.Error(revisions)
	}
	if _, _, err := Load(ctx, filepath.Join(dir, "none"), Options{}); !errors.As(err, new(Errors)) {
		t.Errorf("a bundle that is not there: %v", err)
	}
	if _, _, err := Load(ctx, dir, Options{Limits: Limits{FileBytes: 20}}); !errors.As(err, new(Errors)) {
		t.Errorf("a file beyond the limit: %v", err)
	}
}

// TestRevision: the manifest names it, and a changed file changes the digest.
func TestRevision(t *testing.T) {
	load := func(fsys fstest.MapFS) string {
		_, r, err := LoadFS(context.Background(), fsys, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r.Revision
	}
	fsys := fstest.MapFS{"r.rego": {Data: []byte(small)}, "data.json": {Data: []byte(`{"shells": ["/bin/sh"]}`)}}
	a := load(fsys)
	fsys["data.json"] = &fstest.MapFile{Data: []byte(`{"shells": ["/bin/ash"]}`)}
	if b := load(fsys); a == b {
		t.Errorf("both are %s", a)
	}
	fsys[".manifest"] = &fstest.MapFile{Data: []byte(`{"revision": "v7"}`)}
	if got := load(fsys); got != "v7" {
		t.Error(got)
	}
}

// hugeSet is a bundle with a set of n paths in data.
func hugeSet(n int) fstest.MapFS {
	var b strings.Builder
	b.WriteString(`{"bad": {`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"/opt/tree/%06d/program": true`, i)
	}
	b.WriteString(`}}`)
	return fstest.MapFS{"data.json": {Data: []byte(b.String())}, "r.rego": {Data: []byte(
		"package bailiff.exec\n\ndeny contains \"listed\" if data.bad[input.file.path]\n\n" +
			"deny contains \"not listed\" if {\n\tinput.process.uid == 33\n\tnot data.bad[input.file.path]\n}\n")}}
}

// TestHugeSet: 100,000 entries become one set, not 100,000 alternatives.
func TestHugeSet(t *testing.T) {
	p, _, err := LoadFS(context.Background(), hugeSet(100_000), Options{})
	if err != nil {
		t.Fatal(err)
	}
	rules := p.Program().Rules
	for h := range rules {
		for i, r := range rules[h] {
			if len(r.Clauses) != 1 || r.Clauses[0].Maybe {
				t.Fatalf("rule %d has %d clauses", i, len(r.Clauses))
			}
			n := 0
			for _, c := range r.Clauses[0].When {
				n = max(n, len(c.Strs))
			}
			if n != 100_000 {
				t.Errorf("rule %d: %d values", i, n)
			}
		}
	}
}

// BenchmarkLoad100k is the whole load, of which lowering is a part.
func BenchmarkLoad100k(b *testing.B) {
	fsys := hugeSet(100_000)
	for b.Loop() {
		_, r, err := LoadFS(context.Background(), fsys, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(r.Lower.Milliseconds()), "lower-ms")
	}
}

package policy

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"example.com/bailiff/policy/ir"
)

var update = flag.Bool("update", false, "rewrite golden files")

// bundleFS is a bundle in memory, from a txtar archive.
func bundleFS(a *txtar.Archive) fstest.MapFS {
	fsys := fstest.MapFS{}
	for _, f := range a.Files {
		if f.Name != "want" {
			fsys[f.Name] = &fstest.MapFile{Data: f.Data}
		}
	}
	return fsys
}

// TestLowering compares the lowered form and the diagnostics of each policy in
// testdata/lower with what is written there; -update rewrites them.
func TestLowering(t *testing.T) {
	files, err := filepath.Glob("testdata/lower/*.txtar")
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

func lowered(t *testing.T, fsys fstest.MapFS) []byte {
	t.Helper()
	var b bytes.Buffer
	p, r, err := LoadFS(context.Background(), fsys, Options{})
	if err != nil {
		var list Errors
		if !errors.As(err, &list) {
			t.Fatal(err)
		}
		if err := FormatErrors(&b, err); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	if err := ir.Print(&b, p.Program()); err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", e)
	}
	for _, d := range p.deferred {
		fmt.Fprintf(&b, "%s %s:%d %s (%s) reads %s\n", d.Code, d.File, d.Line, d.Why, d.Class, strings.Join(d.Fields, ","))
	}
	return b.Bytes()
}

func golden(t *testing.T, file string, a *txtar.Archive, got []byte) {
	t.Helper()
	want := -1
	for i, f := range a.Files {
		if f.Name == "want" {
			want = i
		}
	}
	if *update {
		if want < 0 {
			a.Files = append(a.Files, txtar.File{Name: "want"})
			want = len(a.Files) - 1
		}
		a.Files[want].Data = got
		if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want < 0 || !bytes.Equal(a.Files[want].Data, got) {
		t.Errorf("differs from the golden file (go test -update rewrites it); got:\n%s", got)
	}
}

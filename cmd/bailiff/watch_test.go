package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestWatcher changes a bundle in the ways in which bundles are changed.
func TestWatcher(t *testing.T) {
	top := t.TempDir()
	bundle := filepath.Join(top, "bundle")
	write := func(parts ...string) {
		t.Helper()
		path := filepath.Join(append([]string{top}, parts...)...)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(time.Now().String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(filepath.Join(top, from), filepath.Join(top, to)); err != nil {
			t.Fatal(err)
		}
	}
	write("bundle", "a.rego")
	w := newWatcher(bundle)
	ctx, cancel := context.WithCancel(t.Context())
	calls, ended := make(chan time.Time), make(chan struct{})
	go func() {
		defer close(ended)
		w.run(ctx, func() {
			select {
			case calls <- time.Now():
			case <-ctx.Done():
			}
		})
	}()
	defer func() { cancel(); <-ended }()
	expect := func(what string) {
		t.Helper()
		select {
		case <-calls:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s was not seen", what)
		}
	}

	write("bundle", "a.rego")
	expect("a changed file")
	write("bundle", "sub", "b.rego")
	expect("a new directory")
	write("bundle", "sub", "b.rego")
	expect("a file in the new directory")
	write("new", "a.rego")
	rename("bundle", "old")
	rename("new", "bundle")
	expect("a bundle put in the place of the other")
	write("bundle", "a.rego")
	expect("a file in the bundle that was put there")

	// Neighbours are not the bundle: of these two only the second counts.
	start := time.Now()
	write("neighbour")
	write("bundle", "a.rego")
	expect("a change after that of a neighbour")
	select {
	case at := <-calls:
		t.Errorf("a second call after %v", at.Sub(start))
	default:
	}
}

// TestWatcherDoesNotWaitForEver: a bundle that never rests is read in the end.
func TestWatcherDoesNotWaitForEver(t *testing.T) {
	bundle := t.TempDir()
	w := newWatcher(bundle)
	ctx, cancel := context.WithCancel(t.Context())
	seen, ended := make(chan struct{}, 100), make(chan struct{})
	go func() {
		defer close(ended)
		w.run(ctx, func() { seen <- struct{}{} })
	}()
	defer func() { cancel(); <-ended }()
	for tick := time.NewTicker(look / 5); ; <-tick.C {
		if err := os.WriteFile(filepath.Join(bundle, "x"), []byte(time.Now().String()), 0o600); err != nil {
			t.Fatal(err)
		}
		select {
		case <-seen:
			return
		default:
		}
		if t.Context().Err() != nil {
			t.Fatal("it was never read")
		}
	}
}

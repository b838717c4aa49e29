package spool

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// replaceFile puts b in the place of path: after a crash there is the old file
// or the new one, whole.
func replaceFile(path string, b []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".new-*")
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	defer os.Remove(f.Name()) // of no effect once it has its name
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("put file in place: %w", err)
	}
	return syncDir(dir)
}

// syncDir makes names in a directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

// lockDir takes the directory for this process, as long as the file is open. A
// directory can be locked where nothing can be written.
func lockDir(dir string) (*os.File, unix.Stat_t, error) {
	var st unix.Stat_t
	d, err := os.Open(dir)
	if err != nil {
		return nil, st, fmt.Errorf("open directory: %w", err)
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		d.Close()
		return nil, st, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := unix.Fstat(int(d.Fd()), &st); err != nil {
		d.Close()
		return nil, st, fmt.Errorf("look at %s: %w", dir, err)
	}
	return d, st, nil
}

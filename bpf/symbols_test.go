package bpf

import (
	"bytes"
	"os"
	"testing"
)

// TestAddresses: the kernel's count of renames is found where /proc/kallsyms has
// it, and only there.
func TestAddresses(t *testing.T) {
	all, err := os.ReadFile("/proc/kallsyms")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := addressesShown()
	if err != nil {
		t.Fatal(err)
	}
	at, err := newWorld(t, Options{}).k.countOfRenames()
	if want := shown && bytes.Contains(all, []byte(" rename_lock\n")); err != nil || (at != 0) != want {
		t.Errorf("found at %x, %v; is to be found: %v", at, err, want)
	}
}

package bpf

import (
	"fmt"
	"testing"
)

func TestDirPaths(t *testing.T) {
	var p dirPaths
	told := func(slot, number uint32, path string) {
		if got, ok := p.whole(&kernelRecord{DirSlot: slot, DirNumber: number}, []byte(path)); !ok || string(got) != path {
			t.Errorf("%q became %q, %v", path, got, ok)
		}
	}
	want := func(slot, number uint32, path string) {
		t.Helper()
		got, ok := p.whole(&kernelRecord{DirSlot: slot, DirNumber: number, Flags: nameOnly}, []byte("name\x00"))
		if string(got) != path || ok != (path != "") {
			t.Errorf("name in directory %d: %q, %v, want %q", number, got, ok, path)
		}
	}
	want(1, 1, "") // never told
	told(1, 1, "first\x00etc\x00")
	told(2, 2, "second\x00")
	want(1, 1, "name\x00etc\x00")
	want(2, 2, "name\x00") // the root
	want(1, 2, "")
	for i := range uint32(dirsKept) {
		want(1, 1, "name\x00etc\x00") // still on its way
		told(1, 10+i, fmt.Sprintf("x\x00d%d\x00", i))
	}
	want(1, 1, "")
	want(1, 10, "name\x00d0\x00")
	want(1, 9+dirsKept, fmt.Sprintf("name\x00d%d\x00", dirsKept-1))
	told(0, 0, "no number\x00")
	want(2, 2, "name\x00")
}

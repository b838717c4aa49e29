package main

import (
	"os"
	"syscall"
)

const ownLink = "/proc/self/exe"

// ownProgram is this program, to be executed again. When a package has replaced
// the file meanwhile it is the one that has taken its place: an exec of the
// unlinked one is what rules deny, rightly so.
func ownProgram() string {
	var st syscall.Stat_t
	if err := syscall.Stat(ownLink, &st); err != nil || st.Nlink > 0 {
		return ownLink
	}
	path, err := os.Executable()
	if err != nil {
		return ownLink
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return ownLink
	}
	return path
}

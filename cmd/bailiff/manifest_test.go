package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"testing"
)

const rpmSpec = `Name: tool
Version: 1
Release: 1
Summary: a tool
License: none
BuildArch: noarch
%description
A tool.
%install
mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/share
echo '#!/bin/sh' > %{buildroot}/usr/bin/tool
chmod 755 %{buildroot}/usr/bin/tool
echo text > %{buildroot}/usr/share/readme
%files
/usr/bin/tool
/usr/share/readme
`

// TestLockdownFromRPM installs a package with the real rpm and lists it.
func TestLockdownFromRPM(t *testing.T) {
	for _, tool := range []string{"rpm", "rpmbuild"} {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatalf("%s is not installed (Debian package rpm)", tool)
			}
			t.Skipf("%s is not installed (Debian package rpm)", tool)
		}
	}
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		if b, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", name, err, b)
		}
	}
	spec, root := filepath.Join(dir, "tool.spec"), filepath.Join(dir, "root")
	if err := os.WriteFile(spec, []byte(rpmSpec), 0o600); err != nil {
		t.Fatal(err)
	}
	run("rpmbuild", "-bb", "--quiet", "--define", "_topdir "+dir+"/top", spec)
	// Debian's rpm warns that it is not at home, and does it.
	run("rpm", "--root", root, "--nodeps", "--ignorearch", "-i", filepath.Join(dir, "top/RPMS/noarch/tool-1-1.noarch.rpm"))
	got, err := makeLockdown(t.Context(), "rpm", root, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]string{"/usr/bin/tool": "tool"}; !reflect.DeepEqual(got.Programs, want) {
		t.Errorf("got %v, want %v", got.Programs, want)
	}
}

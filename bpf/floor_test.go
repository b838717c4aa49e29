package bpf

import (
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"example.com/bailiff/e2e/harness"
)

// TestFloor measures what every LSM or modify-return program costs an open,
// whatever it does: one that returns at once. In a guest that counts
// instructions the figures are exact; docs/performance.md compares with them.
func TestFloor(t *testing.T) {
	if os.Getenv("BAILIFF_E2E_BENCH") == "" {
		t.Skip("a measurement: make bench")
	}
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	measure := func() int64 {
		n, err := harness.MeasureOpen(file, 200)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	bare := measure()
	t.Logf("no program: %d", bare)
	measureWatched(t, measure, bare)
	for name, spec := range map[string]ebpf.ProgramSpec{
		"empty LSM program":           {Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, AttachTo: "file_open"},
		"empty modify-return program": {Type: ebpf.Tracing, AttachType: ebpf.AttachModifyReturn, AttachTo: "security_file_open"},
	} {
		spec.License = "GPL"
		spec.Instructions = asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()}
		p, err := ebpf.NewProgram(&spec)
		if err != nil {
			t.Skipf("load %s: %v", name, err)
		}
		var l link.Link
		if spec.Type == ebpf.LSM {
			l, err = link.AttachLSM(link.LSMOptions{Program: p})
		} else {
			l, err = link.AttachTracing(link.TracingOptions{Program: p})
		}
		if err != nil {
			t.Fatal(err)
		}
		n := measure()
		t.Logf("%s: %d (%+d)", name, n, n-bare)
		l.Close()
		p.Close()
	}
}

// measureWatched measures what it costs an open that somebody watches another
// directory of the same filesystem, as the agent does for the paths of a policy.
func measureWatched(t *testing.T, measure func() int64, bare int64) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, t.TempDir(), unix.IN_CREATE|unix.IN_MOVED_TO); err != nil {
		t.Fatal(err)
	}
	n := measure()
	t.Logf("no program, another directory of the filesystem is watched: %d (%+d)", n, n-bare)
}

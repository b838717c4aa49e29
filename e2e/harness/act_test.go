package harness

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

func TestMain(m *testing.M) {
	RunIfAct()
	os.Exit(m.Run())
}

// TestActs shows that the act programs do what they say when nobody denies it,
// and that they report an errno: scenarios rest on both.
func TestActs(t *testing.T) {
	dir := t.TempDir()
	file, marker, prog := filepath.Join(dir, "file"), filepath.Join(dir, "marker"), filepath.Join(dir, "prog")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteProgram(prog, MarkerProgram(marker)); err != nil {
		t.Fatal(err)
	}
	interpreted := filepath.Join(dir, "interpreted")
	if err := WriteProgram(interpreted, InterpretedProgram(prog)); err != nil {
		t.Fatal(err)
	}
	deep := "a/b/c/file"
	if err := os.MkdirAll(filepath.Join(dir, "a/b/c"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(file, filepath.Join(dir, deep)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		root  bool // needs root
		steps [][]string
		errno syscall.Errno
		exit  int
	}{
		{name: "nop", steps: [][]string{{"nop"}}},
		{name: "open", steps: [][]string{{"open", file}}},
		{name: "open for writing", steps: [][]string{{"open", file, "rw"}}},
		{name: "open missing", steps: [][]string{{"open", file + "x"}}, errno: syscall.ENOENT, exit: 1},
		{name: "open by proc", steps: [][]string{{"opath", file}}},
		{name: "open by handle", root: true, steps: [][]string{{"handle", file}}},
		{name: "open deep", steps: [][]string{{"deep", dir, deep}}},
		{name: "open by io_uring", steps: [][]string{{"uring", file}}},
		{name: "open missing by io_uring", steps: [][]string{{"uring", file + "x"}}, errno: syscall.ENOENT, exit: 1},
		{name: "map", steps: [][]string{{"map", file, "x"}, {"map", file, "rx"}, {"map", file, "r"}}},
		{name: "ELF interpreter", steps: [][]string{{"exec", interpreted}}, exit: MarkerExit},
		{name: "receive", steps: [][]string{{"receive", file, "r", strconv.Itoa(os.Getuid())}, {"receive", "", "memory", strconv.Itoa(os.Getuid())}, {"receive", file, "getfd", strconv.Itoa(os.Getuid())}}},
		{name: "chroot", root: true, steps: [][]string{{"chroot", dir}, {"open", "/file"}}},
		{name: "bind", root: true, steps: [][]string{{"unshare"}, {"bind", file, prog}, {"open", prog}}},
		{name: "setuid", root: true, steps: [][]string{{"setuid", "1234"}, {"chroot", "/"}}, errno: syscall.EPERM, exit: 1},
		{name: "fork", steps: [][]string{{"fork", "3"}}},
		{name: "spawn", steps: [][]string{{"spawn", prog}}},
		{name: "spawn from thread", steps: [][]string{{"spawn", "-thread", prog}}},
		{name: "exec", steps: [][]string{{"exec", prog}}, exit: MarkerExit},
		{name: "exec from thread", steps: [][]string{{"thread", "exec", prog}}, exit: MarkerExit},
		{name: "exec by descriptor", steps: [][]string{{"fexec", prog}}, exit: MarkerExit},
		{name: "exec from memory", steps: [][]string{{"memfd", prog}}, exit: MarkerExit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root && os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			os.Remove(marker)
			o, err := Actor{}.Do(tt.steps...)
			if err != nil {
				t.Fatal(err)
			}
			if o.Last() != tt.errno || o.Exit != tt.exit {
				t.Errorf("got %v, want errno %d and exit %d", o, tt.errno, tt.exit)
			}
			if _, err := os.Stat(marker); tt.exit == MarkerExit && err != nil {
				t.Errorf("the program left no marker: %v", err)
			}
		})
	}
}

// TestCgroup shows that a program starts in the cgroup that it is put into.
func TestCgroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	c, err := NewCgroup("bailiff-harness")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := c.Remove(); err != nil {
			t.Error(err)
		}
	})
	o, err := Actor{Cgroup: c}.Exec("/bin/grep", "-q", filepath.Base(c.Dir), "/proc/self/cgroup")
	if err != nil || o.Exit != 0 {
		t.Errorf("not in the cgroup: %v, %v", o, err)
	}
}

// TestSpawnProgram shows that the spawner's children become the other program.
func TestSpawnProgram(t *testing.T) {
	dir := t.TempDir()
	marker, prog, spawner := filepath.Join(dir, "marker"), filepath.Join(dir, "prog"), filepath.Join(dir, "spawner")
	for name, b := range map[string][]byte{prog: MarkerProgram(marker), spawner: SpawnProgram(prog, 3)} {
		if err := WriteProgram(name, b); err != nil {
			t.Fatal(err)
		}
	}
	o, err := Actor{}.Exec(spawner)
	if err != nil || o.Exit != 0 {
		t.Fatalf("got %v, %v", o, err)
	}
	if _, err := os.Stat(marker); err != nil {
		t.Error(err)
	}
	if err := WriteProgram(prog, ExitProgram()); err != nil {
		t.Fatal(err)
	}
	if o, err = (Actor{}).Exec(prog); err != nil || o.Exit != 0 {
		t.Errorf("got %v, %v", o, err)
	}
}

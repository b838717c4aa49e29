package digest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestVerityNone: that a file has no fs-verity digest is known, on filesystems that
// can have them and on those that cannot; of what is no file nothing is.
func TestVerityNone(t *testing.T) {
	for name, dir := range map[string]string{"disk": t.TempDir(), "tmpfs": tmpfs(t), "proc": "/proc/self"} {
		path := filepath.Join(dir, "status")
		if name != "proc" {
			path = old(t, dir, []byte("text"))
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Verity(int(f.Fd()), 0); err != nil || got != "" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
		f.Close()
	}
	fd, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, fd := range []int{-1, fd} {
		if got, err := Verity(fd, unix.EXT4_SUPER_MAGIC); err == nil || got != "" {
			t.Errorf("descriptor %d: got %q, %v", fd, got, err)
		}
		// Who serves a filesystem himself is not asked.
		if got, err := Verity(fd, unix.FUSE_SUPER_MAGIC); err != nil || got != "" {
			t.Errorf("descriptor %d of FUSE: got %q, %v", fd, got, err)
		}
	}
}

// TestVerityText: a digest is written as the tools do, and one that they could not
// have is none.
func TestVerityText(t *testing.T) {
	for _, tt := range []struct {
		algorithm, size uint16
		want            string
	}{
		{1, 32, "sha256:" + strings.Repeat("ab", 32)}, {2, 64, "sha512:" + strings.Repeat("ab", 64)},
		{1, 64, ""}, {2, 32, ""}, {0, 0, ""}, {3, 32, ""}, {2, 65535, ""},
	} {
		d := verityDigest{algorithm: tt.algorithm, size: tt.size}
		for i := range d.sum {
			d.sum[i] = 0xab
		}
		if got, err := d.text(); got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("algorithm %d, %d bytes: got %q, %v", tt.algorithm, tt.size, got, err)
		}
	}
}

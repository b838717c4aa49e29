package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// DiskDevice is the disk in the guest: both kernels have NVMe and ext4 built in.
const DiskDevice = "/dev/nvme0n1"

const diskSize = 32 << 20

// makeDisk makes an image with an ext4 filesystem that can have fs-verity, with
// blocks that 6.1 wants for that.
func makeDisk(ctx context.Context, image string) error {
	f, err := os.Create(image)
	if err != nil {
		return fmt.Errorf("make disk: %w", err)
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close()); err != nil {
		return fmt.Errorf("make disk: %w", err)
	}
	mkfs, err := exec.LookPath("mkfs.ext4")
	if err != nil {
		mkfs = "/usr/sbin/mkfs.ext4" // not in everybody's path
	}
	if out, err := exec.CommandContext(ctx, mkfs, "-q", "-F", "-b", "4096", "-O", "verity", image).CombinedOutput(); err != nil {
		return fmt.Errorf("make disk (Debian package e2fsprogs): %w: %s", err, out)
	}
	return nil
}

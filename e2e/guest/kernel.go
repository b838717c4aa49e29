package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// Release is a kernel that Debian 12 ships.
type Release struct {
	Series string // "6.1"
	Meta   string // package that depends on the newest kernel of the series
}

// Releases are the kernels that Bailiff is tried on.
func Releases() []Release {
	return []Release{
		{Series: "6.1", Meta: "linux-image-cloud-amd64"},
		{Series: "6.12", Meta: "linux-image-6.12-cloud-amd64"},
	}
}

// ErrNoKernel is the reason for a machine that cannot have the guest kernels.
var ErrNoKernel = errors.New("no guest kernel: neither cached nor to be had by apt-get")

// Kernel returns the path of the release's boot image, which it downloads with
// apt-get if it is not in the cache.
func (r Release) Kernel(ctx context.Context) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		base = os.TempDir()
	}
	cache := filepath.Join(base, "bailiff", "kernels")
	pkg, err := r.resolve(ctx)
	if err != nil {
		// Off line, or not a Debian: what was fetched before will do.
		if old, _ := filepath.Glob(filepath.Join(cache, r.pattern(), "vmlinuz")); len(old) > 0 {
			return old[len(old)-1], nil
		}
		return "", fmt.Errorf("%w (%s): %w", ErrNoKernel, r.Meta, err)
	}
	image := filepath.Join(cache, pkg, "vmlinuz")
	_, missing := os.Stat(image)
	_, noXZ := exec.LookPath("xz") // modules are packed with it
	if missing == nil && (noXZ != nil || Overlay(image) != "") {
		return image, nil
	}
	if err := fetch(ctx, pkg, image); err != nil && missing != nil {
		return "", fmt.Errorf("%w (%s): %w", ErrNoKernel, pkg, err)
	}
	return image, nil
}

// Overlay returns the kernel module for overlayfs that belongs to a boot image, the
// one that its guests can load; "" if it is not there.
func Overlay(image string) string {
	module := filepath.Join(filepath.Dir(image), "overlay.ko")
	if _, err := os.Stat(module); err != nil {
		return ""
	}
	return module
}

// pattern matches the cache directories of the series and of no other.
func (r Release) pattern() string { return "linux-image-" + r.Series + ".*" }

var dependsLine = regexp.MustCompile(`(?m)^\s*Depends: (linux-image-[0-9]\S+)$`)

// resolve names the package that the meta package depends on today.
func (r Release) resolve(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", r.Meta).Output()
	if err != nil {
		return "", fmt.Errorf("run apt-cache depends: %w", err)
	}
	m := dependsLine.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("find the kernel package of %s: not among its dependencies", r.Meta)
	}
	return string(m[1]), nil
}

// fetch downloads and unpacks a package next to image and keeps its boot image
// and the module for overlayfs only; the last step is a rename, so that a half
// fetched kernel is never used.
func fetch(ctx context.Context, pkg, image string) error {
	dir := filepath.Dir(image)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, "fetch-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := runIn(ctx, tmp, "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", pkg); err != nil {
		return err
	}
	debs, _ := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if len(debs) != 1 {
		return fmt.Errorf("download %s: got %d files, want one", pkg, len(debs))
	}
	if err := runIn(ctx, tmp, "dpkg", "-x", debs[0], "tree"); err != nil {
		return err
	}
	images, _ := filepath.Glob(filepath.Join(tmp, "tree", "boot", "vmlinuz-*"))
	if len(images) != 1 {
		return fmt.Errorf("unpack %s: %d boot images, want one", pkg, len(images))
	}
	if err := keepOverlay(ctx, tmp, dir); err != nil && !errors.Is(err, exec.ErrNotFound) {
		return err
	}
	return os.Rename(images[0], image)
}

// keepOverlay takes the module for overlayfs out of an unpacked package.
func keepOverlay(ctx context.Context, tmp, dir string) error {
	modules, _ := filepath.Glob(filepath.Join(tmp, "tree", "lib", "modules", "*", "kernel", "fs", "overlayfs", "overlay.ko*"))
	if len(modules) != 1 {
		return fmt.Errorf("unpack kernel: %d modules for overlayfs, want one", len(modules))
	}
	if strings.HasSuffix(modules[0], ".xz") {
		if err := runIn(ctx, tmp, "xz", "-d", modules[0]); err != nil {
			return err
		}
		modules[0] = strings.TrimSuffix(modules[0], ".xz")
	}
	return os.Rename(modules[0], filepath.Join(dir, "overlay.ko"))
}

func runIn(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("run %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}

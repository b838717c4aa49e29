package guest

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
)

// runUnit runs /run.sh when the machine is up and powers it off.
//
//go:embed run.service
var runUnit []byte

// debianInitramfs is the root filesystem of the machine, with its files and the
// unit that runs the script added. The kernel unpacks archives one after another.
func (m *Machine) debianInitramfs(name string) (err error) {
	in, err := os.Open(m.Root)
	if err != nil {
		return err
	}
	defer in.Close()
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buf := bufio.NewWriterSize(f, 1<<20)
	n, err := io.Copy(buf, in)
	if err != nil {
		return fmt.Errorf("write initramfs: %w", err)
	}
	a := newArchive(buf)
	a.pos = n
	const units = "usr/lib/systemd/system/"
	a.data("run.sh", 0o644, []byte(m.Script))
	a.data(units+"guest-run.service", 0o644, runUnit)
	links := map[string]string{
		units + "multi-user.target.wants/guest-run.service": "../guest-run.service",
		// Nobody sits at the console, and without udev its device never comes.
		"etc/systemd/system/serial-getty@ttyS0.service": "/dev/null",
	}
	maps.Copy(links, m.Links)
	for _, name := range slices.Sorted(maps.Keys(links)) {
		a.dir(path.Dir(name))
		a.entry(name, entry{mode: 0o120777, data: []byte(links[name])})
	}
	if err := a.files(m.Files); err != nil {
		return fmt.Errorf("write initramfs: %w", err)
	}
	return errors.Join(a.finish(), buf.Flush())
}

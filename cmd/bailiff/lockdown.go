package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"

	"github.com/spf13/cobra"
)

// lockdownData is data.packs.lockdown as `bailiff pack lockdown` writes it.
type lockdownData struct {
	Programs    map[string]string  `json:"programs"` // path -> package
	Directories []string           `json:"directories"`
	Exceptions  lockdownExceptions `json:"exceptions"`
}

type lockdownExceptions struct {
	File  []string `json:"file"`
	Exe   []string `json:"exe"`
	Below []string `json:"below"`
}

// managers run what they have not yet put on the list: maintainer scripts, from
// places of their own.
var managers = map[string][]string{
	"dpkg": {"/usr/bin/dpkg", "/usr/bin/apt", "/usr/bin/apt-get", "/usr/bin/unattended-upgrade"},
	"rpm":  {"/usr/bin/rpm", "/usr/bin/dnf", "/usr/bin/dnf5", "/usr/bin/dnf-3", "/usr/bin/yum", "/usr/bin/zypper", "/usr/bin/microdnf"},
}

func (a *app) lockdownCmd() *cobra.Command {
	var from, root string
	var directories []string
	c := &cobra.Command{
		Use:   "lockdown [FILE...]",
		Short: "Write the data of the pack lockdown: the programs that packages ship",
		Long: `Write, as JSON, the list of executable files that the packages of this machine
ship, for the pack lockdown, which denies running anything else. Files that are
named are added to the list. Make the list anew when packages were installed
and run bailiff reload; what package managers run is allowed meanwhile.

Begin in audit mode: what would be denied is a program of your own that belongs
on the list, or below a directory that you allow.`,
		Example: `  bailiff pack lockdown --from dpkg > /etc/bailiff/lockdown.json
  bailiff run --pack lockdown=/etc/bailiff/lockdown.json
  bailiff pack lockdown --from rpm --allow /opt/app/ /usr/local/bin/deploy`,
		RunE: func(c *cobra.Command, args []string) error {
			if _, ok := managers[from]; !ok {
				return usageError{fmt.Errorf("--from %q is neither dpkg nor rpm", from)}
			}
			data, err := makeLockdown(c.Context(), from, root, args, directories)
			if err != nil {
				return err
			}
			var b bytes.Buffer
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", " ")
			if err := enc.Encode(data); err != nil {
				return fmt.Errorf("encode list: %w", err)
			}
			_, err = a.out.Write(b.Bytes())
			return err
		},
	}
	c.Flags().StringVar(&from, "from", defaultManager(), "dpkg or rpm: whose record of installed files is read")
	c.Flags().StringVar(&root, "root", "/", "directory that the machine's files lie below")
	c.Flags().StringArrayVar(&directories, "allow", nil, "directory below which everything may be run, ends in /; repeat for more")
	return c
}

// defaultManager is the package manager that this machine has.
func defaultManager() string {
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		if _, err := exec.LookPath("rpm"); err == nil {
			return "rpm"
		}
	}
	return "dpkg"
}

var errNothingInstalled = errors.New("no executable file of a package was found")

package harness

import (
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Hammered is what a "hammer" step saw.
type Hammered struct {
	Rounds  int
	Wrong   int    // opens of the denied file that succeeded, and of the allowed file that failed
	Changes int    // how often the answer for the third file changed
	Last    string // the last answer for it: "allowed" or "denied"
}

// ReadHammered reads the report of a hammer step.
func ReadHammered(o *Outcome) (h Hammered, err error) {
	if len(o.Steps) == 0 {
		return h, fmt.Errorf("read report: there is none: %v", o)
	}
	return h, json.Unmarshal([]byte(o.Steps[len(o.Steps)-1].Text), &h)
}

// stepHammer opens three files over and over until the file args[0] exists:
// args[1] must always be denied, args[2] never, args[3] may change.
func stepHammer(args []string) (string, error) {
	h := Hammered{}
	for ; !exists(args[0]) || h.Rounds == 0; h.Rounds++ {
		if !errors.Is(tryOpen(args[1]), unix.EPERM) {
			h.Wrong++
		}
		if tryOpen(args[2]) != nil {
			h.Wrong++
		}
		last := "allowed"
		if errors.Is(tryOpen(args[3]), unix.EPERM) {
			last = "denied"
		}
		if h.Last != "" && last != h.Last {
			h.Changes++
		}
		h.Last = last
		// A guest has one processor, and each denial is an event: without a pause
		// the agent has no time left for the policy that is to be changed.
		_ = unix.Nanosleep(&unix.Timespec{Nsec: 20_000_000}, nil)
	}
	b, err := json.Marshal(h)
	return string(b), err
}

// exists asks without opening.
func exists(name string) bool {
	var st unix.Stat_t
	return unix.Stat(name, &st) == nil
}

func tryOpen(name string) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

package harness

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Flooded is what a "flood" step did.
type Flooded struct {
	Opens int           // of all files together
	Took  time.Duration // from the first to the last
}

// ReadFlooded reads the report of a flood step.
func ReadFlooded(o *Outcome) (f Flooded, err error) {
	if len(o.Steps) == 0 {
		return f, fmt.Errorf("read report: there is none: %v", o)
	}
	return f, json.Unmarshal([]byte(o.Steps[len(o.Steps)-1].Text), &f)
}

// stepFlood opens the files args[2:] in turn, args[1] opens a second, until the
// file args[0] exists.
func stepFlood(args []string) (string, error) {
	rate, err := strconv.Atoi(args[1])
	if err != nil {
		return "", err
	}
	const batch = 60
	f, files, start := Flooded{}, args[2:], time.Now()
	for !exists(args[0]) {
		for range batch {
			_ = tryOpen(files[f.Opens%len(files)])
			f.Opens++
		}
		if ahead := time.Duration(f.Opens)*time.Second/time.Duration(rate) - time.Since(start); ahead > 0 {
			ts := unix.NsecToTimespec(int64(ahead))
			_ = unix.Nanosleep(&ts, nil)
		}
	}
	f.Took = time.Since(start)
	b, err := json.Marshal(f)
	return string(b), err
}

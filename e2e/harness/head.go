package harness

import (
	"encoding/binary"
	"fmt"
	"os"
)

// Numbered reads how many sequence numbers a run of the agent has given, and
// how many of them to notices, from the page that outlives it (spool.head
// beside the socket; internal/spool/head.go has the layout).
func Numbered(path string) (all, notices uint64, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	if len(b) != 4096 || string(b[:8]) != "BAILHED2" {
		return 0, 0, fmt.Errorf("%s: not the page of a spool", path)
	}
	slot := b[192+64*(binary.NativeEndian.Uint64(b[128:])&1):]
	return binary.NativeEndian.Uint64(slot), binary.NativeEndian.Uint64(slot[8:]), nil
}
